#!/bin/sh
# For slurm.conf on compute nodes: Prolog=/etc/slurm/prolog.d/*  Epilog=/etc/slurm/epilog.d/*  PrologFlags=Alloc
# Copy to /etc/slurm/prolog.d/50-sublet and /etc/slurm/epilog.d/50-sublet. It knows by SLURM_SCRIPT_CONTEXT which it is, and
# does nothing where sublet-agent is not installed: a prolog that fails would drain its node.
hook=/usr/lib/sublet/bin/sublet-hook
[ -x "$hook" ] || exit 0
"$hook"
exit 0
