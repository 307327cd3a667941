"""A simulator of the kernel's BPF verifier: bytecode → Verdict, with reasons in words."""

from pbt.modules import later

later(
    __name__,
    "arena callbacks kernelptr layout locks mapstruct objects owned progbtf throw unprivileged",
)

from pbt.verifier_sim.bundles import verify_bundle, verify_program
from pbt.verifier_sim.judge import verify
from pbt.verifier_sim.reg import MapInfo
from pbt.verifier_sim.verdict import Refusal, Verdict

__all__ = ["MapInfo", "Refusal", "Verdict", "verify", "verify_bundle", "verify_program"]
