"""The cluster as a gateway shows it that is alone on its database. Contract: durability.md §15; edge-http.md §24."""

from __future__ import annotations

from socket import gethostname

from tests.e2e.gateway import Client, Gateway


async def test_a_gateway_alone_shows_itself_and_owns_everything(gateway: Gateway, client: Client) -> None:
    async with gateway.http() as http:
        view = (await http.get("/v1/cluster")).json()
        moved = await http.post("/v1/cluster/shards/3/move", json={"to": gethostname()})
        beyond = await http.post("/v1/cluster/shards/256/move", json={"to": gethostname()})
        gone = await http.post("/v1/cluster/nodes/nobody/drain")

    (node,) = view["nodes"]
    assert view["single"]
    assert (node["name"], node["shards"], node["self"], node["draining"]) == (gethostname(), 256, True, False)
    assert node["incarnation"] == 1
    assert 0 < node["lease"] <= 15
    assert node["url"] == gateway.address
    assert moved.status_code == 409
    assert "single_node" in moved.text
    assert beyond.status_code == 400
    assert gone.status_code == 404
    listed = await client.ask("cluster.nodes")
    assert [row["name"] for row in listed["nodes"]] == [gethostname()]
