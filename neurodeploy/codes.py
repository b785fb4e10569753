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
    # ND4xx: verification and use
}
