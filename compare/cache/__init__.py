"""What was made is kept, and found again under the content of what it depends on.

`keys` says what that is, `store` is the folder of the entries, `fits` keeps fits and `reports` the finished folders of
comparisons. Nothing here loads a probabilistic programming library.
"""
