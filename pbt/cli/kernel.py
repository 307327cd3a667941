"""The rules of the kernel that programs are judged for: its release's, and what the kernel itself answered."""

from __future__ import annotations

import os

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.verifier_sim.kerneltypes import KernelTypes


def kernel_types(release: str, target: Target | None = None) -> KernelTypes | None:
    """The types of the kernel of a release, else those of this machine's (or the target's) as the next best."""
    from pbt.host.target import Target as Machine
    from pbt.verifier_sim.kerneltypes import KernelTypes, same_kernel

    target = target or Machine.live()
    if target.types is None:
        return None
    return KernelTypes(target.types, same_kernel(release, target.release))


def judging(release: str, ask: bool = False) -> dict[str, object]:
    """Options of `verifier_sim.verify` for a release.

    If it is that of the running kernel, with what that kernel's verifier answered to tiny programs; with
    `ask` it is asked now, if it was not since it booted.
    """
    options: dict[str, object] = {"kernel": release}
    if release != os.uname().release:
        return options
    from pbt.host import verifier
    from pbt.verifier_sim import kernels

    def programs() -> verifier.Programs:
        from pbt.verifier_sim.calibrate import programs

        return programs()

    accepted = verifier.accepted(programs, ask)
    if accepted is not None:
        from pbt.verifier_sim.calibrate import calibrated

        options["features"] = calibrated(kernels.features(release), accepted)
    return options | {"cpus": verifier.cpus()}
