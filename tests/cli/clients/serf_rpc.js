// Drives the package serf-rpc against one agent, named by host and port. Prints one JSON object: what each
// call was answered with. The package understands an answer only if it comes in one piece, and of several
// records in one piece only the last; so the calls are made one after the other.
'use strict';
// The package makes buffers in a way that the runtime warns about.
process.removeAllListeners('warning');
const SerfRPC = require('serf-rpc');
const [host, port] = process.argv.slice(2);
const serf = SerfRPC();
const seen = {};

const text = (value) => (Buffer.isBuffer(value) ? value.toString() : value);
const plain = (value) => JSON.parse(JSON.stringify(value, (_, v) =>
  v && v.type === 'Buffer' ? Buffer.from(v.data).toString() : v));

// The package numbers its requests from 0, which was the handshake.
let seq = 0;

function call(name, body) {
  seq += 1;
  return new Promise((resolve) => {
    const done = (error, response) => resolve({ error: Boolean(error), response: plain(response) });
    if (body === undefined) serf[name](done);
    else serf[name](body, done);
  });
}

// Every message under the number of the next call: its answer, and records. An answer that came in one
// piece with a record is not seen.
function listen(name, body, listener) {
  serf.events.on(seq + 1, listener);
  return call(name, body);
}

function within(promise, what) {
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error('no ' + what + ' in time')), 20000));
  return Promise.race([promise, late]);
}

async function main() {
  const ask = async (key, name, body) => {
    seen[key] = await within(call(name, body), key);
  };
  const members = await within(call('members'), 'members');
  seen.members = members.response.Members.map((m) => [text(m.Name), text(m.Status), m.Tags]);
  const filtered = await within(
    call('members-filtered', { Tags: { role: 'web' }, Status: 'alive', Name: '' }), 'members-filtered');
  seen.filtered = filtered.response.Members.map((m) => text(m.Name));
  await ask('tags', 'tags', { Tags: { added: 'yes' }, DeleteTags: [] });
  await ask('join', 'join', { Existing: [], Replay: false });
  await ask('install', 'install-key', { key: '' });
  const stats = await within(call('stats'), 'stats');
  seen.stats = { name: stats.response.agent.name, tag: stats.response.tags.added };

  const event = new Promise((resolve) => listen('stream', { Type: 'user:deploy' }, (data) => {
    if (data.Event) resolve([data.Event, data.Name, text(data.Payload), data.Coalesce]);
  }));
  await ask('fired', 'event', { Name: 'deploy', Payload: 'now', Coalesce: false });
  seen.event = await within(event, 'event');

  const asked = new Promise((resolve) => listen('stream', { Type: 'query:load' }, (data) => {
    if (!data.Event) return;
    call('respond', { ID: data.ID, Payload: 'answer' });
    resolve([data.Event, data.Name, text(data.Payload)]);
  }));
  const records = [];
  const timeout = 1500 * 1000 * 1000;
  const done = new Promise((resolve) => listen('query', { Name: 'load', Payload: 'one', Timeout: timeout }, (data) => {
    if (data.Type) records.push([data.Type, data.From, text(data.Payload)]);
    if (data.Type === 'done') resolve();
  }));
  seen.asked = await within(asked, 'query');
  await within(done, 'done');
  seen.records = records;

  const line = new Promise((resolve) => listen('monitor', { LogLevel: 'INFO' }, (data) => {
    if (data.Log) resolve(text(data.Log));
  }));
  seen.line = await within(line, 'line');
  await ask('forced', 'force-leave', { Node: 'nobody' });
  await ask('left', 'leave');
  console.log(JSON.stringify(seen));
  process.exit(0);
}

serf.connect({ rpc_host: host, rpc_port: Number(port) }, (error) => {
  if (error) {
    console.error(error.message || 'the handshake failed');
    process.exit(1);
  }
  main().catch((why) => {
    console.error(why.stack, JSON.stringify(seen));
    process.exit(1);
  });
});
