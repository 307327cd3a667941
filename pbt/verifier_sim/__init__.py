"""A simulator of the kernel's BPF verifier: bytecode → Verdict, with reasons in words."""

from pbt.verifier_sim.explain import Refusal, Verdict, verify, verify_bundle, verify_program
from pbt.verifier_sim.reg import MapInfo

__all__ = ["MapInfo", "Refusal", "Verdict", "verify", "verify_bundle", "verify_program"]
