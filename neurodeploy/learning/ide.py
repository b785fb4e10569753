"""IDE: implicit differentiation on the equilibrium state, SPIDE's predecessor: the same forward stage, (LIN) by roots.

Once round the ring, (LIN) is one linear equation for the last layer's beta,

    beta = G(beta) = g + J beta            J: through all transposed maps and masks, each divided by D

solved by the damped iteration beta <- (1 - omega) beta + omega G(beta), which converges when the ring contracts, or by
Broyden's method on G(beta) - beta = 0, which needs no contraction. No spikes go back and no scale S is needed; the
chip would have to compute in real numbers, so no rule describes it. Xiao et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neurodeploy.errors import Finding, NetworkError
from neurodeploy.learning import equilibrium
from neurodeploy.learning.equilibrium import Implicit, architecture

__all__ = ["IDE", "Options", "architecture"]

SOLVERS = ("fixed-point", "broyden")


@dataclass(frozen=True)
class Options(equilibrium.Options):
    """How IDE learns, beside what SPIDE shares.

    Args:
        solver: "fixed-point" or "broyden".
        iterations: at most, 30 in IDE's released code.
        precision: the iteration ends when |G(beta) - beta| <= precision |g|.
        damping: omega of the fixed-point iteration; 1 is undamped.
    """

    solver: str = "broyden"
    iterations: int = 30
    precision: float = 1e-6
    damping: float = 0.9

    def claims(self) -> list[tuple[bool, str]]:
        return [
            *super().claims(),
            (self.solver in SOLVERS, f"solver is {self.solver!r}; there are {' and '.join(SOLVERS)}"),
            (self.iterations >= 1, f"iterations is {self.iterations}"),
            (self.precision > 0, f"precision is {self.precision}"),
            (0 < self.damping <= 1, f"damping is {self.damping}"),
        ]


class IDE(Implicit):
    """Implicit differentiation on a ring, by a root finder."""

    options: Options

    def solve(self, gradient: Tensor, masks: list[Tensor]) -> tuple[list[Tensor], dict[str, float]]:
        """Return the betas of (LIN).

        Raises:
            NetworkError: ND083 when the residual is not even below |g|: the ring does not contract.
        """
        options, ring = self.options, self.ring
        betas = [torch.zeros_like(m) for m in masks]

        def once_round(beta: Tensor) -> Tensor:
            """Return G(beta), leaving the betas of the lower layers behind."""
            betas[-1] = beta
            errors = [m * b / options.quantum for m, b in zip(masks, betas, strict=True)]
            for at in reversed(range(len(masks) - 1)):
                betas[at] = ring.around(errors, at)
                errors[at] = masks[at] * betas[at] / options.quantum
            return gradient if ring.feedback is None else gradient + ring.around(errors, len(masks) - 1)

        enough = options.precision * float(gradient.norm())
        if options.solver == "broyden":
            beta, rounds = broyden(once_round, gradient, options.iterations, enough)
        else:
            beta, rounds = damped(once_round, gradient, options.iterations, enough, options.damping)
        residual = float((once_round(beta) - beta).norm()) / max(float(gradient.norm()), 1e-30)
        if not residual < 1:
            what = f"the residual is {residual:.2g} of the error after {rounds} iterations"
            why = "the feedback does not contract, so the equilibrium has no gradient to be found this way"
            fix = "lower the restriction, take solver='broyden', or a lower rate"
            raise NetworkError(Finding("ND083", "feedback", what, why, fix))
        return betas, {"residual": residual, "iterations": float(rounds)}


def damped(
    function: Callable[[Tensor], Tensor], start: Tensor, rounds: int, enough: float, omega: float
) -> tuple[Tensor, int]:
    """Return x with |function(x) - x| <= enough, or after `rounds`, by x <- x + omega (function(x) - x)."""
    x = start
    for done in range(rounds):
        step = function(x) - x
        if float(step.norm()) <= enough:
            return x, done
        x = x + omega * step
    return x, rounds


def broyden(function: Callable[[Tensor], Tensor], start: Tensor, rounds: int, enough: float) -> tuple[Tensor, int]:
    """Return x with |function(x) - x| <= enough, or after `rounds`, by Broyden's good method.

    r(x) = function(x) - x;  B = -1 + sum u v^T approximates the inverse of r's derivative, and after dx = -B r

        B <- B + (dx - B dr) (dx^T B) / (dx^T B dr)
    """
    x, r = start, function(start) - start
    us, vs = list[Tensor](), list[Tensor]()

    def inverse(y: Tensor) -> Tensor:
        return -y + sum((u * (v * y).sum() for u, v in zip(us, vs, strict=True)), start=torch.zeros_like(y))

    def transposed(y: Tensor) -> Tensor:
        return -y + sum((v * (u * y).sum() for u, v in zip(us, vs, strict=True)), start=torch.zeros_like(y))

    for done in range(rounds):
        if float(r.norm()) <= enough:
            return x, done
        dx = -inverse(r)
        x = x + dx
        after = function(x) - x
        dr, r = after - r, after
        seen = inverse(dr)
        curvature = float((dx * seen).sum())
        if curvature != 0:
            vs_new = transposed(dx)
            us.append((dx - seen) / curvature)
            vs.append(vs_new)
    return x, rounds
