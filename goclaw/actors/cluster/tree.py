"""The cluster branch. A node alone on its database has a lease and nothing else: nobody could take what it owns."""

from __future__ import annotations

from goclaw.actors.cluster.elsewhere import Elsewhere
from goclaw.actors.cluster.listener import Listener
from goclaw.actors.cluster.node import Membership, Node
from goclaw.actors.cluster.notifier import Notifier
from goclaw.actors.cluster.peers import Peers
from goclaw.actors.cluster.shards import ShardOwner
from goclaw.runtime.child import Limit, Strategy, child
from goclaw.runtime.supervisor import Supervisor


def cluster(me: Membership, dsn: str) -> Supervisor:
    house, own, lease = me.house, me.ownership, me.lease
    children = [child("node_lease", Node, me)]
    if not own.alone:
        children += [
            child("notifier", Notifier, house.node_id, own),
            child("shard_owner", ShardOwner, house, own, lease),
            child("peers", Peers, house.node_id, own, lease),
            child("elsewhere", Elsewhere, house.node_id),
            child("listener", Listener, house.node_id, dsn, own),  # last: its first word is "look everywhere"
        ]
    return Supervisor(children, strategy=Strategy.REST_FOR_ONE, limit=Limit(restarts=5, within=60.0))
