//! The agent's RPC protocol: requests, replies and records as bytes (agent spec 2). Used by the agent's
//! server and by the command line's client.
