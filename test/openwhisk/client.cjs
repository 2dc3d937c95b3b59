// What the npm package openwhisk can do, asked of a server. Each check prints
// one line of JSON: {name, ok, detail}.
'use strict'
const assert = require('assert')
const fs = require('fs')
const openwhisk = require('openwhisk')

const [apihost, defaultKey, guestKey] = [process.env.APIHOST, process.env.AUTH, process.env.GUEST]
const options = key => ({ apihost, api_key: key, namespace: '_' })
const ow = openwhisk(options(defaultKey))
const guest = openwhisk(options(guestKey))

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

// until asks again until f does not throw.
async function until (f) {
  for (let n = 0; ; n++) {
    try { return await f() } catch (e) { if (n === 200) throw e }
    await sleep(25)
  }
}

// refused checks that f fails with a status and a text.
async function refused (f, status, text) {
  let error
  try { await f() } catch (e) { error = e }
  assert(error, `it was not refused, with ${status}`)
  assert.strictEqual(error.statusCode, status, `${error.message}`)
  const said = (error.error && error.error.error) || ''
  const plain = typeof said === 'string' ? said : JSON.stringify(said)
  if (text instanceof RegExp) assert.match(plain, text)
  else if (text) assert.strictEqual(plain, text)
  if (status !== 502) assert(error.error.code, 'the error has no code')
  return error
}

const value = (pairs, key) => (pairs.find(p => p.key === key) || {}).value
const python = (code, limits) => ({ exec: { kind: 'python:default', code }, limits })

const checks = {
  async 'actions: create, get, list, invoke, update, delete' () {
    const made = await ow.actions.create({ name: 'hello', action: 'function main (args) { return { hello: args.name } }', params: { name: 'nobody' }, annotations: { note: 'mine' }, limits: { timeout: 5000 } })
    assert.strictEqual(made.version, '0.0.1')
    assert.strictEqual(made.namespace, 'default')
    assert.match(made.exec.kind, /^nodejs:/)
    assert.strictEqual(value(made.annotations, 'note'), 'mine')
    assert.match(value(made.annotations, 'exec'), /^nodejs:/)
    assert.strictEqual(value(made.annotations, 'provide-api-key'), false)
    assert.strictEqual(made.limits.timeout, 5000)
    assert.strictEqual(made.limits.memory, 256)
    await refused(() => ow.actions.create({ name: 'hello', action: 'x' }), 409, 'resource already exists')
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'hello', blocking: true, result: true }), { hello: 'nobody' })
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'hello', blocking: true, result: true, params: { name: 'ada' } }), { hello: 'ada' })
    const whole = await ow.actions.invoke({ name: '/_/hello', blocking: true, params: { name: 'ada' } })
    assert.deepStrictEqual(whole.response.result, { hello: 'ada' })
    assert.strictEqual(whole.response.status, 'success')
    assert.deepStrictEqual(whole.logs, [])
    const later = await ow.actions.invoke('hello')
    assert.match(later.activationId, /^[0-9a-f]{32}$/)
    const changed = await ow.actions.update({ name: 'hello', action: 'function main () { return { v: 2 } }' })
    assert.strictEqual(changed.version, '0.0.2')
    assert.strictEqual(value(changed.annotations, 'note'), 'mine', 'annotations are merged')
    assert.strictEqual(value(changed.parameters, 'name'), 'nobody', 'parameters stay')
    const got = await ow.actions.get('hello')
    assert.strictEqual(got.exec.code, 'function main () { return { v: 2 } }')
    assert.strictEqual(got.exec.binary, false)
    const bare = await ow.actions.get({ name: 'hello', code: false })
    assert.strictEqual(bare.exec.code, undefined)
    const list = await ow.actions.list({ limit: 10 })
    assert(list.some(a => a.name === 'hello' && a.version === '0.0.2' && a.exec.binary === false && a.limits.memory === 256))
    const gone = await ow.actions.delete('hello')
    assert.strictEqual(gone.name, 'hello')
    await refused(() => ow.actions.get('hello'), 404, 'The requested resource does not exist.')
    await refused(() => ow.actions.delete('hello'), 404)
    await refused(() => ow.actions.invoke('hello'), 404)
  },

  async 'actions: a zip archive comes back as it was' () {
    const zip = fs.readFileSync(process.env.ZIP)
    const made = await ow.actions.create({ name: 'zipped', action: zip })
    assert.strictEqual(made.exec.binary, true)
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'zipped', blocking: true, result: true, params: { n: 20 } }), { answer: 42 })
    assert.strictEqual((await ow.actions.get('zipped')).exec.code, zip.toString('base64'))
    await ow.actions.delete('zipped')
  },

  async 'actions: lists have pages and counts' () {
    for (let n = 0; n < 5; n++) await ow.actions.create({ name: `page${n}`, action: 'function main () { return {} }' })
    const all = await ow.actions.list({ limit: 200 })
    assert.strictEqual((await ow.actions.list({ limit: 2 })).length, 2)
    assert.deepStrictEqual((await ow.actions.list({ limit: 2, skip: 1 })).map(a => a.name), all.slice(1, 3).map(a => a.name))
    assert.strictEqual((await ow.actions.list({ count: true })).actions, all.length)
    assert.deepStrictEqual(all.slice(0, 5).map(a => a.name), ['page4', 'page3', 'page2', 'page1', 'page0'], 'the last updated is first')
    await refused(() => ow.actions.list({ limit: 201 }), 400, "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for actions.")
    for (let n = 0; n < 5; n++) await ow.actions.delete(`page${n}`)
  },

  async 'actions: each way to fail has its status' () {
    await ow.actions.create({ name: 'fails', action: python(`
import os
def main(args):
    if args['how'] == 'error': return {'error': 'no', 'more': 1}
    if args['how'] == 'raise': raise ValueError('boom')
    if args['how'] == 'exit': os._exit(3)
    if args['how'] == 'text': return 'text'
    if args['how'] == 'hang':
        import time
        time.sleep(60)
    return {}
`, { timeout: 1000, memory: 64 }) })
    const ends = async how => {
      const e = await refused(() => ow.actions.invoke({ name: 'fails', blocking: true, params: { how } }), 502)
      assert.strictEqual(e.error.response.success, false)
      return e.error.response
    }
    let r = await ends('error')
    assert.strictEqual(r.status, 'application error')
    assert.strictEqual(r.result.error, 'no')
    r = await ends('raise')
    assert.strictEqual(r.status, 'application error')
    assert.match(r.result.error, /boom/)
    r = await ends('exit')
    assert.strictEqual(r.status, 'action developer error')
    assert.strictEqual(r.result.error, 'The action did not produce a valid response and exited unexpectedly.')
    r = await ends('text')
    assert.strictEqual(r.status, 'action developer error')
    assert.match(r.result.error, /^The action did not return a dictionary/)
    r = await ends('hang')
    assert.strictEqual(r.status, 'action developer error')
    assert.strictEqual(r.result.error, 'The action exceeded its time limits of 1000 milliseconds.')
    const list = await ow.activations.list({ name: 'fails', limit: 5 })
    assert.deepStrictEqual(list.map(a => a.statusCode), [2, 2, 2, 1, 1])
    await ow.actions.update({ name: 'fails', action: python('def main(:\n', { timeout: 5000 }) })
    r = await ends('syntax')
    assert.strictEqual(r.status, 'action developer error')
    assert.match(r.result.error, /initiali/)
    await ow.actions.delete('fails')
  },

  async 'actions: bad ones are refused' () {
    await refused(() => ow.actions.create({ name: 'bad', action: { exec: { kind: 'cobol:1', code: 'x' } } }), 400, /^The specified runtime 'cobol:1' is not supported by this platform\. Valid values are: .*'nodejs:20'/)
    await refused(() => ow.actions.create({ name: 'bad', action: { exec: { kind: 'blackbox', image: 'me/mine' } } }), 400, /runs no images/)
    await refused(() => ow.actions.create({ name: 'bad$', action: 'x' }), 400, 'The name of the entity contains illegal characters.')
    await refused(() => ow.actions.create({ name: 'b'.repeat(257), action: 'x' }), 400, 'Name segement longer than allowed: 257 > 256.')
    await refused(() => ow.actions.create({ name: 'bad', action: 'x', limits: { timeout: 99 } }), 400, /duration 99 milliseconds below allowed threshold of 100 milliseconds$/)
    await refused(() => ow.actions.create({ name: 'bad', action: 'x', params: { big: 'x'.repeat(1 << 20) } }), 413, /^parameters larger than allowed: \d+ > 1048576 bytes\.$/)
    await refused(() => ow.actions.create({ name: 'nopackage/bad', action: 'x' }), 404)
    await ow.actions.create({ name: 'echo', action: 'function main (args) { return args }' })
    await refused(() => ow.actions.invoke({ name: 'echo', blocking: true, params: { big: 'x'.repeat(1 << 20) } }), 413, /^Request larger than allowed: \d+ > 1048576 bytes\.$/)
    await ow.actions.delete('echo')
  },

  async 'sequences' () {
    await ow.actions.create({ name: 'inc', action: 'function main (args) { return args.fail ? { error: "stop" } : { n: args.n + 1 } }' })
    const made = await ow.actions.create({ name: 'three', sequence: ['/_/inc', '/_/inc', '/_/inc'] })
    assert.strictEqual(made.exec.kind, 'sequence')
    assert.deepStrictEqual(made.exec.components, ['/default/inc', '/default/inc', '/default/inc'])
    const act = await ow.actions.invoke({ name: 'three', blocking: true, params: { n: 1 } })
    assert.deepStrictEqual(act.response.result, { n: 4 })
    assert.strictEqual(act.logs.length, 3)
    assert.strictEqual(value(act.annotations, 'topmost'), true)
    const part = await ow.activations.get(act.logs[1])
    assert.strictEqual(part.cause, act.activationId)
    assert.strictEqual(value(part.annotations, 'causedBy'), 'sequence')
    assert.deepStrictEqual(part.response.result, { n: 3 })
    const stopped = await refused(() => ow.actions.invoke({ name: 'three', blocking: true, params: { n: 1, fail: true } }), 502)
    assert.strictEqual(stopped.error.logs.length, 1)
    assert.strictEqual(stopped.error.response.result.error, 'stop')
    await refused(() => ow.actions.create({ name: 'none', sequence: ['/_/missing'] }), 400, 'Sequence component does not exist.')
    await refused(() => ow.actions.create({ name: 'none', action: { exec: { kind: 'sequence', components: [] } } }), 400, 'No component specified for the sequence.')
    await refused(() => ow.actions.update({ name: 'three', sequence: ['/_/three'] }), 400, 'Sequence may not refer to itself.')
    await ow.actions.create({ name: 'outer', sequence: ['/_/three'] })
    await refused(() => ow.actions.update({ name: 'three', sequence: ['/_/inc', '/_/outer'] }), 400, 'Sequence may not refer to itself.')
    await refused(() => ow.actions.create({ name: 'long', sequence: Array(51).fill('/_/inc') }), 400, 'Too many actions in the sequence.')
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'outer', blocking: true, result: true, params: { n: 0 } }), { n: 3 })
    for (const name of ['outer', 'three', 'inc']) await ow.actions.delete(name)
  },

  async 'packages and bindings' () {
    const made = await ow.packages.create({ name: 'tools', package: { publish: true, parameters: [{ key: 'a', value: 'package' }, { key: 'b', value: 'package' }, { key: 'c', value: 'package' }, { key: 'd', value: 'package' }] } })
    assert.strictEqual(made.publish, true)
    await ow.actions.create({ name: 'tools/show', action: 'function main (args) { return args }', params: { c: 'action', d: 'action' } })
    const show = (client, name) => client.actions.invoke({ name, blocking: true, result: true, params: { d: 'call' } })
    assert.deepStrictEqual(await show(ow, 'tools/show'), { a: 'package', b: 'package', c: 'action', d: 'call' })
    await ow.packages.create({ name: 'mine', package: { binding: { namespace: '_', name: 'tools' }, parameters: [{ key: 'b', value: 'binding' }, { key: 'c', value: 'binding' }] } })
    assert.deepStrictEqual(await show(ow, 'mine/show'), { a: 'package', b: 'binding', c: 'action', d: 'call' })
    const bound = await ow.packages.get('mine')
    assert.deepStrictEqual(bound.binding, { namespace: 'default', name: 'tools' })
    assert.strictEqual(value(bound.parameters, 'a'), 'package')
    assert.deepStrictEqual(bound.actions.map(a => a.name), ['show'])
    await refused(() => ow.actions.create({ name: 'mine/other', action: 'x' }), 400, 'Operation not permitted on package binding.')
    await refused(() => ow.packages.create({ name: 'twice', package: { binding: { namespace: '_', name: 'mine' } } }), 400, 'Cannot bind to another package binding.')
    await refused(() => ow.packages.create({ name: 'never', package: { binding: { namespace: '_', name: 'nothing' } } }), 400, 'Binding references a package that does not exist.')
    await refused(() => ow.packages.create({ name: 'default' }), 400, "Package name 'default' is reserved.")
    // Another's, as he lets us: what runs is ours.
    await guest.packages.create({ name: 'theirs', package: { binding: { namespace: 'default', name: 'tools' }, parameters: [{ key: 'b', value: 'guest' }] } })
    assert.deepStrictEqual(await show(guest, 'theirs/show'), { a: 'package', b: 'guest', c: 'action', d: 'call' })
    assert.deepStrictEqual(await show(guest, '/default/tools/show'), { a: 'package', b: 'package', c: 'action', d: 'call' })
    const acts = await guest.activations.list({ limit: 2 })
    assert.deepStrictEqual(acts.map(a => [a.namespace, a.name]), [['guest', 'show'], ['guest', 'show']])
    assert.strictEqual(value(acts[1].annotations, 'binding'), 'guest/theirs')
    assert.strictEqual(value(acts[1].annotations, 'path'), 'default/tools/show')
    assert.deepStrictEqual((await guest.activations.list({ name: 'tools/show' })).map(a => a.activationId), [acts[0].activationId], 'by the name of its path')
    assert.strictEqual((await guest.activations.list({ name: 'tools/show', count: true })).activations, 1)
    await refused(() => guest.actions.delete('/default/tools/show'), 403)
    await ow.packages.update({ name: 'tools', package: { publish: true, parameters: [{ key: 'a', value: 'changed' }] } })
    assert.deepStrictEqual(await show(guest, 'theirs/show'), { a: 'changed', b: 'guest', c: 'action', d: 'call' })
    assert.deepStrictEqual(await show(ow, 'tools/show'), { a: 'changed', c: 'action', d: 'call' })
    await ow.packages.update({ name: 'tools', package: { publish: false } })
    await refused(() => show(guest, 'theirs/show'), 403)
    await refused(() => show(guest, '/default/tools/show'), 403)
    await refused(() => guest.packages.get('/default/tools'), 403)
    await refused(() => ow.packages.delete('tools'), 409, 'Package not empty (contains 1 entity). Set force param or delete package contents.')
    assert((await ow.packages.list()).some(p => p.name === 'mine' && p.binding.name === 'tools'))
    await guest.packages.delete('theirs')
    await ow.packages.delete('mine')
    await ow.actions.delete('tools/show')
    await ow.packages.delete('tools')
    await refused(() => ow.packages.get('tools'), 404)
  },

  async 'triggers and rules' () {
    await ow.actions.create({ name: 'react', action: 'function main (args) { console.log("got", args.n); return args }' })
    const t = await ow.triggers.create({ name: 'bell', trigger: { parameters: [{ key: 'from', value: 'trigger' }, { key: 'n', value: 0 }], annotations: [{ key: 'why', value: 'test' }] } })
    assert.deepStrictEqual(t.limits, {})
    await refused(() => ow.rules.create({ name: 'lost', action: 'react', trigger: 'nothing' }), 400, 'trigger /default/nothing does not exist')
    await refused(() => ow.rules.create({ name: 'lost', action: 'nothing', trigger: 'bell' }), 400, 'action /default/nothing does not exist')
    const r = await ow.rules.create({ name: 'ring', action: 'react', trigger: 'bell' })
    assert.deepStrictEqual([r.status, r.trigger, r.action], ['active', { path: 'default', name: 'bell' }, { path: 'default', name: 'react' }])
    assert.strictEqual((await ow.triggers.get('bell')).rules['default/ring'].status, 'active')
    const fired = await ow.triggers.invoke({ name: 'bell', params: { n: 7 } })
    const act = await until(() => ow.activations.get(fired.activationId))
    assert.strictEqual(act.name, 'bell')
    assert.strictEqual(act.response.result.n, 7)
    const line = JSON.parse(act.logs[0])
    assert.deepStrictEqual([line.success, line.rule, line.action], [true, 'default/ring', 'default/react'])
    const led = await until(() => ow.activations.get(line.activationId))
    assert.strictEqual(led.response.result.n, 7)
    assert.strictEqual(led.response.result.from, 'trigger')
    assert.match(led.logs[0], /^\d{4}-\d\d-\d\dT[\d:.]+Z +stdout: got 7$/)
    assert.strictEqual(value(led.annotations, 'cause'), fired.activationId, 'an action says which trigger led to it')
    const headers = led.response.result.__ow_headers
    assert.strictEqual(headers.authorization, undefined, 'the key is not handed on')
    assert(headers['user-agent'])
    await ow.rules.disable({ name: 'ring' })
    assert.strictEqual((await ow.rules.get('ring')).status, 'inactive')
    const quiet = await ow.triggers.invoke({ name: 'bell' })
    assert.strictEqual(quiet.length, 0, 'nobody listens: 204, without a body')
    await ow.rules.enable({ name: 'ring' })
    await refused(() => ow.triggers.create({ name: 'bell' }), 409, 'resource already exists')
    await refused(() => ow.triggers.create({ name: 'react' }), 409, 'Resource by this name exists but is not in this collection.')
    await refused(() => ow.actions.get('bell'), 409, 'Resource by this name exists but is not in this collection.')
    assert((await ow.rules.list()).some(x => x.name === 'ring' && x.status === undefined))
    assert((await ow.triggers.list()).some(x => x.name === 'bell'))
    assert.strictEqual((await ow.rules.delete('ring')).status, 'inactive')
    await ow.triggers.delete('bell')
    await refused(() => ow.triggers.invoke('bell'), 404)
    await ow.actions.delete('react')
  },

  async 'activations' () {
    await ow.actions.create({ name: 'talk', action: 'function main (args) { console.log("out"); console.error("err"); return { n: args.n } }' })
    const ids = []
    const before = Date.now()
    for (let n = 0; n < 3; n++) ids.unshift((await ow.actions.invoke({ name: 'talk', blocking: true, params: { n } })).activationId)
    const list = await ow.activations.list({ name: 'talk', since: before })
    assert.deepStrictEqual(list.map(a => a.activationId), ids)
    assert.deepStrictEqual(Object.keys(list[0]).sort(), ['activationId', 'annotations', 'duration', 'end', 'name', 'namespace', 'publish', 'start', 'statusCode', 'version'])
    assert.strictEqual((await ow.activations.list({ name: 'talk', count: true })).activations, 3)
    assert.deepStrictEqual(await ow.activations.list({ name: 'talk', upto: before - 1 }), [])
    const docs = await ow.activations.list({ name: 'talk', docs: true, limit: 1 })
    assert.strictEqual(docs[0].response.result.n, 2)
    const one = await ow.activations.get(ids[2])
    assert.strictEqual(one.response.statusCode, 0)
    assert.strictEqual(value(one.annotations, 'path'), 'default/talk')
    assert.match(value(one.annotations, 'kind'), /^nodejs:/)
    assert.strictEqual(value(one.annotations, 'limits').memory, 256)
    assert(value(one.annotations, 'initTime') >= 0, 'the first is cold')
    assert.strictEqual(value((await ow.activations.get(ids[0])).annotations, 'initTime'), undefined, 'the last is warm')
    const logs = (await ow.activations.logs(ids[0])).logs
    assert.deepStrictEqual(logs.map(l => l.slice(31)).sort(), ['stderr: err', 'stdout: out'])
    assert.deepStrictEqual((await ow.activations.result(ids[1])).result, { n: 1 })
    await refused(() => ow.activations.get('0'.repeat(32)), 404)
    await refused(() => ow.activations.get('0'.repeat(31)), 400, 'Activation id length is 31 but must be 32.')
    await refused(() => guest.activations.get(ids[0]), 404)
    await ow.actions.delete('talk')
    assert.strictEqual((await ow.activations.get(ids[0])).response.result.n, 2, 'a record outlives its action')
  },

  async 'namespaces and keys' () {
    assert.deepStrictEqual(await ow.namespaces.list(), ['default'])
    assert.deepStrictEqual(await guest.namespaces.list(), ['guest'])
    await guest.actions.create({ name: 'own', action: 'function main () { return {} }' })
    await refused(() => ow.actions.get('/guest/own'), 403)
    await refused(() => ow.actions.invoke('/guest/own'), 403)
    assert(!(await ow.actions.list()).some(a => a.name === 'own'))
    await guest.actions.delete('own')
    const wrong = openwhisk(options(defaultKey.slice(0, -1) + '!'))
    await refused(() => wrong.actions.list(), 401, 'The supplied authentication is invalid')
    await refused(() => openwhisk(options('nobody:nothing')).actions.list(), 401, 'The supplied authentication is invalid')
  },

  async 'feeds that users write' () {
    await ow.packages.create({ name: 'news' })
    // As feeds are written: with the key of whom it is for, in an action that has none.
    await ow.actions.create({ name: 'news/feed', annotations: { feed: true }, action: `
const openwhisk = require('openwhisk')
async function main (args) {
  const ow = openwhisk({ api_key: args.authKey })
  const trigger = args.triggerName.split('/').pop()
  if (args.lifecycleEvent === 'CREATE') await ow.triggers.update({ name: trigger, trigger: { parameters: [{ key: 'about', value: args.what }] } })
  const found = await ow.triggers.get(trigger)
  return { saw: args.lifecycleEvent, of: args.triggerName, about: found.parameters[0].value }
}` })
    await ow.triggers.create({ name: 'paper', trigger: { annotations: [{ key: 'feed', value: '/_/news/feed' }] } })
    for (const [method, lifecycle] of [['create', 'CREATE'], ['get', 'READ'], ['update', 'UPDATE'], ['delete', 'DELETE']]) {
      const r = await ow.feeds[method]({ name: 'news/feed', trigger: 'paper', params: { what: 'sport' } })
      assert.strictEqual(r.response.result.saw, lifecycle)
      assert.strictEqual(r.response.result.of, '/_/paper')
      assert.strictEqual(r.response.result.about, 'sport')
    }
    assert.deepStrictEqual((await ow.packages.get('news')).feeds.map(f => f.name), ['feed'])
    await refused(() => ow.triggers.create({ name: 'odd', trigger: { annotations: [{ key: 'feed', value: 'a/b/c/d' }] } }), 400, 'Feed name is not valid')
    await ow.triggers.delete('paper')
    await ow.actions.delete('news/feed')
    await ow.packages.delete('news')
  },

  async 'an action asks the platform, with a key of its own' () {
    await ow.actions.create({ name: 'inner', action: 'function main (args) { return { twice: args.n * 2 } }' })
    await ow.actions.create({ name: 'outer', annotations: { 'provide-api-key': true }, action: `
const openwhisk = require('openwhisk')
async function main (args) {
  const ow = openwhisk()
  const inner = await ow.actions.invoke({ name: 'inner', blocking: true, result: true, params: { n: args.n } })
  return { inner, key: process.env.__OW_API_KEY !== args.key, name: process.env.__OW_ACTION_NAME, id: process.env.__OW_ACTIVATION_ID }
}` })
    const act = await ow.actions.invoke({ name: 'outer', blocking: true, params: { n: 21, key: defaultKey } })
    assert.deepStrictEqual(act.response.result, { inner: { twice: 42 }, key: true, name: '/default/outer', id: act.activationId })
    const inner = (await ow.activations.list({ name: 'inner', limit: 1 }))[0]
    assert.strictEqual(value(inner.annotations, 'cause'), act.activationId)
    await ow.actions.create({ name: 'keyless', action: `
async function main (args) {
  const get = (path, authorization) => new Promise((resolve, reject) => require('http').get(process.env.__OW_API_HOST + path, { headers: authorization ? { authorization } : {} }, r => {
    let body = ''
    r.on('data', d => { body += d }).on('end', () => resolve({ status: r.statusCode, body }))
  }).on('error', reject))
  const nobody = await get('/api/v1/namespaces/_/actions')
  const native = await get('/v1/functions', 'Basic ' + Buffer.from(args.key).toString('base64'))
  return { key: process.env.__OW_API_KEY || process.env.ROUSE_TOKEN || 'none', nobody: nobody.status, code: JSON.parse(nobody.body).code.length > 0, native: native.status,
    web: (await get('/api/v1/web/default/default/page')).body, list: await require('openwhisk')({ api_key: args.key }).namespaces.list() }
}` })
    await ow.actions.create({ name: 'page', annotations: { 'web-export': true }, action: 'function main () { return { body: "page" } }' })
    const seen = await ow.actions.invoke({ name: 'keyless', blocking: true, result: true, params: { key: guestKey } })
    assert.deepStrictEqual(seen, { key: 'none', nobody: 401, code: true, native: 401, web: 'page', list: ['guest'] })
    await ow.actions.create({ name: 'owner', annotations: { 'provide-api-key': true }, action: `
async function main (args) {
  const ow = require('openwhisk')()
  await ow.triggers.create({ name: 'made' })
  await ow.actions.update({ name: 'madeAction', annotations: { 'web-export': true }, action: 'function main () { return { made: true } }' })
  await ow.rules.create({ name: 'madeRule', trigger: 'made', action: 'madeAction' })
  const code = async (method, path) => { try { await method(path) } catch (e) { return [e.statusCode, e.error.error] } }
  const api = await ow.routes.create({ action: 'madeAction', basepath: '/inside', relpath: '/made', operation: 'GET' })
  await ow.routes.delete({ basepath: '/inside' })
  return { api: api.gwApiUrl, list: await ow.namespaces.list(), made: await ow.actions.invoke({ name: 'madeAction', blocking: true, result: true }),
    theirs: await code(ow.actions.get.bind(ow.actions), '/guest/own'), none: await code(ow.actions.get.bind(ow.actions), 'nothing') }
}` })
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'owner', blocking: true, result: true }), { api: `${apihost}/api/gw/default/inside`, list: ['default'], made: { made: true },
      theirs: [403, "The supplied authentication is not authorized to access 'guest/own'."], none: [404, 'The requested resource does not exist.'] })
    assert.strictEqual((await ow.rules.get('madeRule')).status, 'active')
    // The code of another's package has not the key of who runs it.
    await guest.packages.create({ name: 'shared', package: { publish: true } })
    await guest.actions.create({ name: 'shared/try', annotations: { 'provide-api-key': true }, action: `
async function main () {
  const ow = require('openwhisk')()
  const code = async f => { try { await f() } catch (e) { return e.statusCode } }
  const feed = (lifecycleEvent, authKey) => code(() => ow.actions.invoke({ name: '/whisk.system/alarms/interval', blocking: true, result: true, params: { lifecycleEvent, authKey, triggerName: '/_/made', minutes: 60 } }))
  return { run: await ow.actions.invoke({ name: 'madeAction', blocking: true, result: true }), put: await code(() => ow.triggers.create({ name: 'theirs' })), list: await code(() => ow.routes.list()),
    read: await Promise.all([() => ow.actions.get('madeAction'), () => ow.actions.list(), () => ow.packages.list(), () => ow.triggers.get('made'), () => ow.rules.list(), () => ow.activations.list()].map(code)),
    feeds: await Promise.all(['CREATE', 'READ', 'DELETE'].map(x => feed(x, process.env.__OW_API_KEY))), produce: await code(() => ow.actions.invoke({ name: '/whisk.system/messaging/streamProduce', params: { stream: 's', value: 'x' } })) }
}` })
    assert.deepStrictEqual(await ow.actions.invoke({ name: '/guest/shared/try', blocking: true, result: true }), { run: { made: true }, put: 403, list: 403,
      read: [403, 403, 403, 403, 403, 403], feeds: [403, 403, 403], produce: 403 })
    await guest.actions.create({ name: 'shared/lead', annotations: { conductor: true }, action: `
function main (args) {
  return args.lifecycleEvent ? { action: '/whisk.system/alarms/interval', params: args } : { said: args }
}` })
    const told = { lifecycleEvent: 'CREATE', triggerName: '/_/made', minutes: 60 }
    const led = authKey => ow.actions.invoke({ name: '/guest/shared/lead', blocking: true, result: true, params: { ...told, authKey } }).catch(e => e.error)
    assert.match(JSON.stringify(await led(guestKey)), /not authorized to access '.*interval'/)
    assert.deepStrictEqual(await led(defaultKey), { said: { status: 'success' } })
    await ow.feeds.delete({ name: '/whisk.system/alarms/interval', trigger: 'made' })
    await guest.actions.delete('shared/lead')
    await guest.actions.delete('shared/try')
    await guest.packages.delete('shared')
    await ow.rules.delete('madeRule')
    await ow.triggers.delete('made')
    for (const name of ['page', 'owner', 'madeAction']) await ow.actions.delete(name)
    for (const name of ['inner', 'outer', 'keyless']) await ow.actions.delete(name)
  },

  async 'conductors' () {
    await ow.actions.create({ name: 'add', action: 'function main (args) { return args.n > 100 ? { error: "too much" } : { n: args.n + 1 } }' })
    await ow.actions.create({ name: 'leader', annotations: { conductor: true }, action: `
function main (args) {
  if (args.error) return { handled: args.error }
  if (args.bad) return { action: 7 }
  if (args.missing) return { action: 'nothing' }
  if (args.theirs) return { action: '/guest/secret/one' }
  const left = args.left === undefined ? 3 : args.left
  if (left === 0) return { params: { total: args.n } }
  return { action: 'add', params: { n: args.n }, state: { left: left - 1 } }
}` })
    const act = await ow.actions.invoke({ name: 'leader', blocking: true, params: { n: 1 } })
    assert.deepStrictEqual(act.response.result, { total: 4 })
    assert.strictEqual(value(act.annotations, 'conductor'), true)
    assert.strictEqual(act.logs.length, 7, 'four times the leader, three times the other')
    const part = await ow.activations.get(act.logs[1])
    assert.deepStrictEqual([part.name, part.cause], ['add', act.activationId])
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'leader', blocking: true, result: true, params: { n: 101 } }), { handled: 'too much' })
    const handled = async params => (await ow.actions.invoke({ name: 'leader', blocking: true, result: true, params })).handled
    assert.strictEqual(await handled({ bad: 1 }), 'Failed to parse action name from json value 7 during composition.')
    assert.strictEqual(await handled({ missing: 1 }), "Failed to resolve action with name 'default/nothing' during composition.")
    assert.strictEqual(await handled({ theirs: 1 }), "Failed entitlement check for action with name 'guest/secret/one' during composition.")
    await ow.actions.create({ name: 'endless', annotations: { conductor: true }, action: 'function main () { return { action: "add", params: { n: 0 } } }' })
    const e = await refused(() => ow.actions.invoke({ name: 'endless', blocking: true }), 502)
    assert.strictEqual(e.error.response.result.error, 'Too many actions in the composition.')
    for (const name of ['add', 'leader', 'endless']) await ow.actions.delete(name)
  },

  async 'routes' () {
    await ow.actions.create({ name: 'books', annotations: { 'web-export': true }, action: 'function main (args) { return { body: args.id || "all" } }' })
    const made = await ow.routes.create({ action: 'books', basepath: '/club', relpath: '/books', operation: 'GET' })
    assert.match(made.gwApiUrl, /\/club$/)
    await ow.routes.create({ action: 'books', basepath: '/club', relpath: '/books/{id}', operation: 'GET' })
    const page = path => fetch(made.gwApiUrl + path).then(r => r.text())
    assert.deepStrictEqual([await page('/books'), await page('/books/7')], ['all', '7'])
    assert.deepStrictEqual((await ow.routes.list()).apis.map(a => Object.keys(a.value.apidoc.paths).sort()), [['/books', '/books/{id}']])
    assert.strictEqual((await ow.routes.get({ basepath: '/club' })).apis.length, 1)
    await ow.routes.delete({ basepath: '/club', relpath: '/books', operation: 'GET' })
    await ow.routes.delete({ basepath: '/club' })
    assert.deepStrictEqual((await ow.routes.list()).apis, [])
    await ow.actions.delete('books')
  },

  async 'parameters that are final, or environment' () {
    await ow.actions.create({ name: 'fixed', annotations: { final: true }, params: { a: 1, empty: null }, action: 'function main (args) { return args }' })
    await refused(() => ow.actions.invoke({ name: 'fixed', blocking: true, params: { a: 2 } }), 400, 'Request defines parameters that are not allowed (e.g., reserved properties).')
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'fixed', blocking: true, result: true, params: { b: 2, empty: 3 } }), { a: 1, b: 2, empty: 3 })
    await ow.actions.create({ name: 'initial', action: { exec: { kind: 'nodejs:default', code: 'function main (args) { return { args, env: process.env.SECRET } }' }, parameters: [{ key: 'SECRET', value: 's', init: true }, { key: 'plain', value: 1 }] } })
    assert.deepStrictEqual(await ow.actions.invoke({ name: 'initial', blocking: true, result: true }), { args: { plain: 1 }, env: 's' })
    await ow.actions.delete('fixed')
    await ow.actions.delete('initial')
  }
}

async function run () {
  const only = process.env.ONLY
  for (const [name, check] of Object.entries(checks)) {
    if (only && !name.includes(only)) continue
    let detail = ''
    try { await check() } catch (e) { detail = (e.stack || String(e)) + (e.error ? '\n' + JSON.stringify(e.error) : '') }
    console.log(JSON.stringify({ name, ok: detail === '', detail }))
  }
}

run()
