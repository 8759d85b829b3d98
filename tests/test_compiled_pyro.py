"""Functions compiled with their gradient: the same numbers as autograd's, or left as they are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from compare.user_model import compiled_pyro  # noqa: E402
from compare.user_model.compiled_pyro import Tape, autograd, compile_potential, recorded, with_gradient  # noqa: E402

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
    """A branch, a mask and indices that only the data decide."""
    return (a * b[DATA > 0]).sum() if bool((DATA > 0).any()) else b.sum()


def looks_up(a, b):
    return (a * b[torch.tensor([0, 2, 2, 1])]).sum()


FUNCTIONS = {function.__name__: function for function in (smooth, assigns, layered, factored, asks_the_data, looks_up)}


def at(count=1):
    generator = torch.Generator().manual_seed(4)
    shapes = {"a": (1,), "b": (3,)}
    return [
        {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_compiled_function_and_its_gradient_are_autograds(name):
    """At points where it was not recorded, by itself and as a potential."""
    function, (start, *others) = FUNCTIONS[name], at(4)
    compiled = recorded(function, list(start.values()))
    potential = compile_potential(lambda point: function(**point), [start])
    for point in others:
        expected = autograd(function)(*point.values())
        leaves = {name: value.clone().requires_grad_() for name, value in point.items()}
        value = 2 * potential(leaves)
        halves = [value / 2, *(slope / 2 for slope in torch.autograd.grad(value, list(leaves.values())))]
        for results in (compiled(*point.values()), halves):
            for number, true in zip(results, expected, strict=True):
                torch.testing.assert_close(number, true, rtol=1e-12, atol=1e-12, check_stride=False)


def test_rows_are_evaluated_together():
    """The value of each, and the gradient of their sum, which is each's own."""

    def rows(a):
        return (a**3).sum(-1).exp()

    start, other = (torch.linspace(low, 1.0, 6, dtype=torch.float64).reshape(2, 3) for low in (-1.0, 0.2))
    for result, true in zip(recorded(rows, [start])(other), autograd(rows)(other), strict=True):
        torch.testing.assert_close(result, true)


def test_a_branch_that_depends_on_the_variables_is_not_recorded():
    """Through a view of what was assigned, too."""

    def branches(a, b):
        x = torch.zeros(4, dtype=torch.float64)
        x[1:] = b
        return a.sum() * (x**2).sum() if x.sum() > -1e9 else x.sum()

    with pytest.raises(ValueError, match="a branch depends on the variables"):
        recorded(branches, list(at()[0].values()))


@pytest.mark.parametrize(
    "fails",
    [
        lambda a, b: torch.linalg.cholesky(torch.eye(3, dtype=torch.float64) + torch.diag(b, 0) * a).sum(),
        lambda a, b: torch.linalg.solve(torch.diag(b.clamp(min=0.0)) * a, DATA).sum(),
    ],
)
def test_a_factorisation_that_fails_raises_as_it_does(fails):
    """Not NaN, nor a number: Pyro takes the error for a point without density."""
    fine = [torch.ones(1, dtype=torch.float64), torch.tensor([0.5, 0.7, 2.0], dtype=torch.float64)]
    compiled = with_gradient(fails, [fine])
    for value, true in zip(compiled(*fine), autograd(fails)(*fine), strict=True):
        torch.testing.assert_close(value, true)
    bad = [fine[0], torch.tensor([0.5, -3.0, 2.0], dtype=torch.float64)]
    with pytest.raises(RuntimeError, match=r"linalg\."):
        compiled(*bad)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda a, b: (a * b).sum() if torch.equal(b, b + 1) else b.sum() + a.sum(), "a branch"),
        (lambda a, b: (a * b).sum() - len(torch.nonzero(b > 3)), "a shape"),
        (lambda a, b: (torch._assert_async((b > -1e9).all()), (a * b).sum())[1], "a check"),
    ],
)
def test_what_else_depends_on_the_variables_is_not_recorded(function, says):
    with pytest.raises(ValueError, match=f"{says} depends on the variables"):
        recorded(function, list(at()[0].values()))


def test_a_shape_that_depends_on_the_variables_is_not_recorded():
    """The gradient of a mean over the positive ones has their number in it."""

    def masks(a, b):
        return a.sum() * (b**2)[b > -1e9].mean()

    with pytest.raises(ValueError, match="a shape depends on the variables"):
        recorded(masks, list(at()[0].values()))


def test_what_would_take_much_memory_is_not_recorded(monkeypatch):
    """A recording holds every result at once, each of its tensors once."""
    start, rows = list(at()[0].values()), torch.ones(1000, dtype=torch.float64)

    def long(a, b):
        return (a * b.sum() * rows).view(10, 100).sum()

    monkeypatch.setattr(compiled_pyro, "LARGEST", 60_000)
    recorded(long, start)
    monkeypatch.setattr(compiled_pyro, "LARGEST", 7_000)
    with pytest.raises(ValueError, match="more than 7000 bytes"):
        recorded(long, start)


def test_what_changes_its_callers_tensors_is_not_recorded():
    counter = torch.zeros(1, dtype=torch.float64)

    def counts(a, b):
        counter.view(-1).add_(1.0)
        return (a * b).sum()

    with pytest.raises(ValueError, match="was there before"):
        recorded(counts, list(at()[0].values()))


def test_where_compiling_changes_a_function_it_is_left_to_autograd():
    """Of a branch that torch cannot see, as NumPy decides it, and of one that is refused."""
    first, second = at(2)
    between = float(first["b"][0] + second["b"][0]) / 2

    def hidden(a, b):
        return (2.0 if b.detach().numpy()[0] > between else 1.0) * (b.sum() + a.sum())

    def seen(a, b):
        return (2.0 if b[0] > between else 1.0) * (b.sum() + a.sum())

    both = [list(point.values()) for point in (first, second)]
    for function in (hidden, seen):
        checked = with_gradient(function, both)
        for point in both:
            assert checked(*point)[0] == function(*point)
    unchecked = with_gradient(hidden, both[:1])
    assert unchecked(*both[1])[0] != hidden(*both[1]), "the check at the second point decides"


def test_recording_does_not_import_torchs_compiler():
    """It takes a second, and is not used: torch wraps a mode's dispatch in it unless told not to."""
    assert Tape.__torch_dispatch__.__code__.co_filename == compiled_pyro.__file__
