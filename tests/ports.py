"""Ports for servers that have to be told theirs before they start.

Knows: which ports the kernel gives to outgoing connections, and how test processes keep clear of
each other. Must not know: whose ports they are.
"""

import random
import socket
from typing import Final

# Below the range from which the kernel takes the ports of outgoing connections, so that none of
# those can sit on a server's port while it starts, or starts again.
PORTS: Final = range(20_000, 32_000)
_claims: list[socket.socket] = []


def free_port() -> int:
    """A port of loopback that nobody listens on, and that no other test process was given."""
    while True:
        port = random.choice(PORTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            # An abstract name, which goes with its process: whoever asked for the port may take
            # seconds until it listens.
            claim.bind(f"\0fluxpay-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
