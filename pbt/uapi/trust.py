"""Members of the kernel's structures that hand on the verifier's trust: what it makes of a pointer found there.

Source: BTF_TYPE_SAFE_RCU, _RCU_OR_NULL, _TRUSTED and _TRUSTED_OR_NULL of kernel/bpf/verifier.c.
"""

from __future__ import annotations


def _fields(text: str) -> frozenset[tuple[str, str]]:
    return frozenset((struct, field) for struct, _, field in (word.partition(".") for word in text.split()))


TRUSTED = _fields(
    "bpf_iter_meta.seq bpf_iter__task.meta bpf_iter__task.task linux_binprm.file file.f_inode dentry.d_inode"
)
"""As trusted as the structure itself."""
TRUSTED_OR_NULL = _fields("socket.sk vm_area_struct.vm_mm vm_area_struct.vm_file")
RCU = _fields(
    "task_struct.cpus_ptr task_struct.cgroups task_struct.real_parent task_struct.group_leader cgroup.kn "
    "css_set.dfl_cgrp cgroup_subsys_state.cgroup"
)
"""Never null, and there until the end of the RCU read-side section: of the program, where it does not sleep."""
RCU_OR_NULL = _fields("mm_struct.exe_file sk_buff.sk request_sock.sk")
OR_NULL = TRUSTED_OR_NULL | RCU_OR_NULL
"""To be compared with 0 before anything is loaded through them."""
