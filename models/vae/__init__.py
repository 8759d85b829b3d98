"""The variational autoencoder, with its posterior known."""
