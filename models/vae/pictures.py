"""The autoencoder's own pictures: posteriors and images on the plane of latents, the gaps, and one for each task."""

from dataclasses import dataclass

from models.contract import Picture
from models.vae.compression import compressed
from models.vae.data import Autoencoder
from models.vae.gaps import gaps
from models.vae.generation import generated, interpolated
from models.vae.planes import latent, plane
from models.vae.sheets import answers, reconstructions


@dataclass(frozen=True)
class Tasks:
    """Whether the task is one of these, and there is a decoder of binary pixels."""

    names: tuple[str, ...]

    def __call__(self, data: Autoencoder) -> bool:
        return data.task in self.names and data.network is not None and not data.network.grey


COMPARING = Tasks(("compare",))


def is_plane(data: Autoencoder) -> bool:
    """Whether the guides are compared on a plane of two latents."""
    return COMPARING(data) and data.network.latent == 2


PICTURES = (
    Picture(
        "plane",
        "Posteriors of single images on the plane, one row an image, one column a family, NumPyro's fit where both "
        "libraries made one. Grey is the exact posterior, dashed the best member of the family for this image, solid "
        "what the encoder says; contours hold 50%, 80% and 95%. Above each panel stands what this costs in nats: the "
        "family gap is the distance from grey to dashed, the amortisation gap from dashed to solid. The rows are the "
        "images that mean field gets most wrong, by either gap, a middling one, and the one it gets most right.",
        plane,
        is_plane,
    ),
    Picture(
        "latent",
        "Left, the exact posterior mean of every test image, by its class; right, the images decoded at the same "
        "places. Both measure the plane in quantiles of the prior: if the posteriors averaged to the prior, the means "
        "would fill the square evenly, and every decoded image is equally probable.",
        latent,
        is_plane,
    ),
    Picture(
        "reconstructions",
        "Test images, and below them the mean image over the exact posterior and over each encoder's answer, one fit a "
        "family. Where the last rows differ from the second, the encoder is at fault and not the decoder.",
        reconstructions,
        COMPARING,
    ),
    Picture(
        "gaps",
        "The gaps of all test images, one line a fit: the share of images whose gap is smaller. A line further left is "
        "better; NumPyro's are solid, Pyro's dashed; the dots are means. Gaps below 0.001 nats, including those that "
        "Monte Carlo error makes negative, are drawn at the left edge.",
        gaps,
        COMPARING,
    ),
    Picture(
        "answers",
        "The task's question and each posterior's answer, one fit a family. The exact posterior is that of the same "
        "decoder, so where an encoder's row is worse, the encoder is at fault.",
        answers,
        Tasks(("reconstruct", "denoise", "inpaint")),
    ),
    Picture(
        "generated",
        "Images decoded from draws of the prior, and the training image nearest to each; on the right the exact log "
        "evidence of generated images beside that of real ones. A right model of the data would give both the same "
        "distribution.",
        generated,
        Tasks(("generate",)),
    ),
    Picture(
        "interpolated",
        "Images decoded along the straight line between the exact posterior means of two test images of different "
        "classes. Below, thick lines are means over the pairs: left, the exact log evidence of images drawn from the "
        "decoder along the line, beside that of images that mix the pixels of the pair; right, the log density of z "
        "along the line under the prior and under the average posterior of the test images, which shows the holes in "
        "the plane.",
        interpolated,
        Tasks(("interpolate",)),
    ),
    Picture(
        "compressed",
        "Bits a pixel of the test images: -log2 p(x) by the exact evidence, bits back with each guide, and files of "
        "general-purpose compressors, which alone include all their overhead. The size of the decoder is not counted.",
        compressed,
        Tasks(("compress",)),
    ),
)
