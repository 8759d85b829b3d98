"""The conjugate guide in Pyro: the one the model's own file defines."""


def guide(twin):
    return twin.conjugate
