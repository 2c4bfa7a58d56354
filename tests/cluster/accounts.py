"""Service accounts: a caller with exactly the rights that roles give it.

The token comes from the TokenRequest API, as a kubelet's would.
"""

from __future__ import annotations

from pathlib import Path

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.kubectl import Kubectl


def account_user(namespace: str, name: str) -> str:
    """The user name that the server knows a service account by."""
    return f"system:serviceaccount:{namespace}:{name}"


def act_as(plane: ControlPlane, admin: Kubectl, name: str, folder: Path) -> Kubectl:
    """Give a kubectl that asks as a service account, which is made if it is not there.

    Its `kubeconfig` serves any other client too, such as the operator.

    Args:
        plane: The API server.
        admin: Whoever may make the account and its token, in the account's namespace.
        name: The account's name.
        folder: A private folder for the kubeconfig.
    """
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    told = admin.apply(account)
    assert told.code == 0, told.err
    token = admin.run("create", "token", name, "--duration=4h").strip()
    path = folder / f"{name}.kubeconfig"
    write_kubeconfig(path, plane.endpoint, token=token, namespace=admin.namespace)
    return Kubectl(path, admin.namespace)
