"""Every code a finding or deviation can carry, explained; `neurodeploy explain CODE` prints the text.

ND0xx reading files and data, ND1xx the network and whether it fits, ND2xx numbers and substitutions, ND3xx backends,
ND4xx verification and use. Codes are never reused.
"""

EXPLANATIONS: dict[str, str] = {
    # ND00x-ND04x: models from files (frontends)
    "ND012": "A stored network names a type, field or array this version does not know. neurodeploy files hold a "
    "closed list of types and no pickle; write the file again with neurodeploy.save or `neurodeploy compile`.",
    # ND05x-ND06x: data
    # ND1xx: the network, and whether it fits
    "ND110": "An edge of the network names a node that does not exist.",
    "ND111": "The network has a loop in which no connection waits a step, so no step could be computed.",
    # ND2xx: numbers and substitutions
    # ND3xx: backends
    # ND300-ND329: Lava
    "ND300": "lava-nc is not installed, or not in the version all claims about it are tested against. It declares "
    "Python < 3.11, so pip needs two extra options: pip install --no-deps --ignore-requires-python lava-nc==0.10.0.",
    "ND301": "neurodeploy lets lava-nc 0.10.0 run on Python 3.11 and later by changing three lines as they are "
    "imported. Here one of these lines reads differently, so this is not the released lava-nc 0.10.0; nothing changed.",
    "ND302": "From NumPy 2.4 on, arrays of one element no longer become scalars, and parts of Lava 0.10.0 hang.",
    "ND303": "Lava's runtime runs in a child process, and that process ended without a result. Its last lines, with "
    "the traceback that Lava itself does not show, are part of the message.",
    "ND304": "Lava's runtime took longer than allowed, or made no step for two minutes. All it had started was ended.",
    "ND305": "In Lava each connection takes exactly one step, so a population starts one step after whatever feeds it. "
    "The program's latencies say otherwise, which a compiled program never does.",
    "ND306": "Lava 0.10's Conv stores a weight exponent and does not apply it, so the result would differ silently.",
    "ND307": "The run was called with inputs of another shape than (step, sample, *input), or an unknown executor.",
    # ND4xx: verification and use
}
