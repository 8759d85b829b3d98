"""Functions compiled with their gradient: the same numbers as autograd's, or left as they are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

from compare.fit.mcmc import compiled_pyro  # noqa: E402
from compare.fit.mcmc.compiled_pyro import Tape, compile_potential, results, with_gradient  # noqa: E402

DATA = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
LAYER = torch.nn.Linear(3, 2).double()


def smooth(a, b):
    return (a.exp() * (DATA - b) ** 2).sum() + torch.lgamma(a.exp()).sum() + b.tanh().prod()


def assigns(a, b):
    """Writes into a tensor of its own, whole and by its parts."""
    x = torch.zeros(4, dtype=torch.float64)
    x[0], x[1:] = a.sum(), b
    x += a.sum()
    return (x**2).sum() + x[1].sin()


def layered(a, b):
    """Goes through a module, whose weights are constants that have a gradient of their own."""
    return LAYER(b).square().sum() * a.sum()


def factored(a, b):
    matrix = torch.eye(3, dtype=torch.float64) * a.exp() + torch.outer(b, b)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(matrix), DATA[:, None], upper=False).square().sum()


def asks_the_data(a, b):
    return (a * b).sum() if bool((DATA > 0).any()) else b.sum()


FUNCTIONS = {function.__name__: function for function in (smooth, assigns, layered, factored, asks_the_data)}


def at(count=1):
    generator = torch.Generator().manual_seed(4)
    shapes = {"a": (1,), "b": (3,)}
    return [
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_and_its_gradient_are_autograds(name):
    """At points where it was not recorded, in both ways in which it can be called."""
    function, (start, *others) = FUNCTIONS[name], at(4)
    compiled = with_gradient(function, list(start.values()))

    def plain(point):
        return function(**point)

    whole = compile_potential(plain, [start])
    assert whole is not plain, "it is as it was"
    for point in others:
        expected = results(plain, point)
        for value, true in zip(compiled(*point.values()), expected, strict=True):
            torch.testing.assert_close(value, true, rtol=1e-12, atol=1e-12)
        for value, true in zip(results(whole, point), expected, strict=True):
            torch.testing.assert_close(value, true, rtol=1e-12, atol=1e-12)


def test_where_a_branch_depends_on_the_latents_nothing_is_compiled():
    """Through a view of what was assigned, too; and what only three points of a check would not show."""

    def branches(point):
        x = torch.zeros(4, dtype=torch.float64)
        x[1:] = point["b"]
        return point["a"].sum() * (x**2).sum() if x.sum() > -1e9 else x.sum()

    assert compile_potential(branches, at(3)) is branches


def test_what_changes_its_callers_tensors_is_not_compiled():
    counter = torch.zeros(1, dtype=torch.float64)

    def counts(point):
        counter.view(-1).add_(1.0)
        return (point["a"] * point["b"]).sum()

    assert compile_potential(counts, at(3)) is counts


def test_a_gradient_that_differs_elsewhere_is_seen():
    """Of a function whose branch torch cannot see: NumPy asks for it."""

    def hidden(point):
        is_large = point["b"].detach().numpy()[0] > at(2)[0]["b"].numpy()[0] + 1e-3
        return (2.0 if is_large else 1.0) * point["b"].sum() + point["a"].sum()

    points = at(2)
    points[1]["b"] = points[0]["b"] + 1.0
    assert compile_potential(hidden, points) is hidden
    assert compile_potential(hidden, points[:1]) is not hidden


def test_recording_does_not_import_torchs_compiler():
    """It takes a second, and is not used: torch wraps a mode's dispatch in it unless told not to."""
    assert Tape.__torch_dispatch__.__code__.co_filename == compiled_pyro.__file__
