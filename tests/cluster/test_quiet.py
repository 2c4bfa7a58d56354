"""Where nothing changes nothing is written: not in a later round, and not by a new process."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.cluster import scale
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubeconfig import write_kubeconfig
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import launch_for, prepare
from tests.e2e.serving import Service

TENANTS = 60
MEMORY_MB_MAX = 150


async def test_unchanged_tenants_are_looked_at_again_and_nothing_is_written(
    control_plane: ControlPlane, service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "admin.kubeconfig"
    token = control_plane.admin_token
    write_kubeconfig(path, control_plane.endpoint, token=token, namespace=scale.NAMESPACE)
    admin = Kubectl(path, scale.NAMESPACE)
    admin.run("create", "namespace", scale.NAMESPACE)
    site = prepare(control_plane, admin, tmp_path)
    # So often that each tenant has several rounds while the test looks on.
    launch = launch_for(site, service, FLUXPAY_OPERATOR_RESYNC_S="10")
    options = argparse.Namespace(tenants=TENANTS, idle_s=15)
    told = await scale.measure(site, launch, service, options)
    assert ({}, 0) == (told["idle_writes"], told["idle_admin_writes"])
    assert ({}, 0) == (told["restart_writes"], told["restart_admin_writes"])
    assert {"unchanged"} == set(told["restart_turns"])
    assert told["idle_turns"].get("unchanged", 0) >= TENANTS
    assert MEMORY_MB_MAX >= max(told["rss_mb_max"], told["restart_rss_mb_max"])
