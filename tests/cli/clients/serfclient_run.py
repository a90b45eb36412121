"""Drives the package serfclient against two agents. The first argument is the folder that holds the
package, then host and RPC port of each agent, the key of the second one, and the gossip address of the
second one. Prints one JSON object: what each call was answered with."""

import json
import sys

folder, host, port, other_host, other_port, key, gossip = sys.argv[1:8]
sys.path.insert(0, folder)

from serfclient.client import SerfClient  # noqa: E402


def text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict):
        return {text(k): text(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [text(v) for v in value]
    return value


def members(result):
    """As text: what keys and values are depends on the version of the msgpack package."""
    return text(result.body)["Members"]


def names(result):
    return sorted(member["Name"] for member in members(result))


seen = {}
client = SerfClient(host=host, port=int(port), timeout=20)
result = client.members()
seen["head"] = text(result.head)
first = members(result)[0]
seen["member"] = {key: first[key] for key in ("Name", "Status", "Tags", "Port")}
seen["join"] = text(client.join([gossip]).body)
seen["both"] = names(client.members())
seen["named"] = names(client.members(name="c.*1"))
seen["alive"] = names(client.members(status="alive", tags={"role": "web"}))
seen["none"] = names(client.members(name="nobody"))
seen["stats"] = text(client.stats().body)["agent"]

listener = SerfClient(host=host, port=int(port), timeout=20)
stream = listener.stream("user:deploy,query")
# The reference answers before it listens; the answer to the next command says that it does.
listener.force_leave("nobody")
# The package waits for records for ever.
listener.connection._socket.settimeout(20)
records = iter(stream.body)
seen["event"] = text(client.event("deploy", "p\u00e4yload", coalesce=False).head)
seen["record"] = text(next(records).body)
listener.close()

seen["forced"] = text(client.force_leave("nobody").head)
seen["refused"] = text(client.event("x" * 600).head)["Error"]
client.close()

trusted = SerfClient(host=other_host, port=int(other_port), rpc_auth=key, timeout=20)
seen["trusted"] = names(trusted.members())
trusted.close()
stranger = SerfClient(host=other_host, port=int(other_port), timeout=20)
seen["wrong"] = text(stranger.connection.auth(key + "x").head)["Error"]
seen["missing"] = text(stranger.event("x").head)["Error"]
stranger.close()
print(json.dumps(seen, sort_keys=True))
