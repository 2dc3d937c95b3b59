// Compositions of the npm package openwhisk-composer, deployed and run. Each
// check prints one line of JSON: {name, ok, detail}.
'use strict'
const assert = require('assert')
const composer = require('openwhisk-composer')
const ow = require('openwhisk-composer/client')({ apihost: process.env.APIHOST, api_key: process.env.AUTH, namespace: '_' })

const action = (name, f) => composer.action(name, { action: f })
const inc = action('inc', function main ({ n }) { return { n: n + 1 } })
const isEven = action('isEven', function main ({ n }) { return { value: n % 2 === 0 } })

// runs deploys a composition and runs it.
async function runs (name, composition, params) {
  await ow.compositions.deploy(Object.assign({ name }, composition.compile()), true)
  const act = await ow.actions.invoke({ name, blocking: true, params })
  return act
}
const result = async (...args) => (await runs(...args)).response.result

const checks = {
  async 'sequence' () {
    const act = await runs('seq', composer.sequence(inc, inc), { n: 1 })
    assert.deepStrictEqual(act.response.result, { n: 3 })
    const names = []
    for (const id of act.logs) {
      const part = await ow.activations.get({ name: id })
      assert.strictEqual(part.cause, act.activationId)
      names.push(part.name)
    }
    assert.deepStrictEqual(names, ['seq', 'inc', 'seq', 'inc', 'seq'])
  },
  async 'if' () {
    const c = composer.if(isEven, composer.literal({ is: 'even' }), composer.literal({ is: 'odd' }))
    assert.deepStrictEqual(await result('cond', c, { n: 2 }), { is: 'even' })
    assert.deepStrictEqual(await result('cond', c, { n: 3 }), { is: 'odd' })
  },
  async 'while' () {
    const c = composer.while(composer.function(p => p.n < 5), composer.action('inc'))
    assert.deepStrictEqual(await result('loop', c, { n: 1 }), { n: 5 })
  },
  async 'try and finally' () {
    const bad = action('bad', function main () { throw new Error('no') })
    const r = await result('careful', composer.try(bad, composer.function(p => ({ caught: p.error !== undefined }))), {})
    assert.deepStrictEqual(r, { caught: true })
    assert.deepStrictEqual(await result('last', composer.finally(composer.literal({ a: 1 }), composer.function(p => ({ end: p }))), {}), { end: { a: 1 } })
  },
  async 'an action that is not there' () {
    assert.deepStrictEqual(await result('lost', composer.try(composer.action('does_not_exist'), composer.function(p => ({ caught: p.error }))), {}),
      { caught: "Failed to resolve action with name 'default/does_not_exist' during composition." })
  },
  async 'let, retain and mask' () {
    const c = composer.let({ k: 10 }, composer.sequence(composer.action('inc'), composer.function(p => ({ n: p.n + k })))) // eslint-disable-line no-undef
    assert.deepStrictEqual(await result('vars', c, { n: 1 }), { n: 12 })
    assert.deepStrictEqual(await result('kept', composer.retain(composer.action('inc')), { n: 1 }), { params: { n: 1 }, result: { n: 2 } })
  },
  async 'a composition within one' () {
    assert.deepStrictEqual(await result('outer', composer.sequence(composer.action('seq'), composer.action('seq')), { n: 0 }), { n: 4 })
  },
  async 'an error ends it' () {
    await ow.compositions.deploy(Object.assign({ name: 'ends' }, composer.sequence(composer.literal({ error: 'stop' }), composer.action('inc')).compile()), true)
    await assert.rejects(ow.actions.invoke({ name: 'ends', blocking: true }), e => {
      assert.strictEqual(e.statusCode, 502)
      assert.strictEqual(e.error.response.result.error, 'stop')
      return true
    })
  }
}

async function run () {
  for (const [name, check] of Object.entries(checks)) {
    let detail = ''
    try { await check() } catch (e) { detail = (e.stack || String(e)) + (e.error ? '\n' + JSON.stringify(e.error) : '') }
    console.log(JSON.stringify({ name, ok: detail === '', detail }))
  }
}

run()
