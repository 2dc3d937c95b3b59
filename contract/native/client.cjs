// Use the platform from inside a function.
//
//   const rouse = require('rouse')                    // or: import rouse from 'rouse'
//   const seen = rouse.table('seen')
//   await seen.put({ name: 'a.jpg', size: 12 }, { condition: { name: { exists: false } } })
//   await seen.get({ name: 'a.jpg' })                 // the item, or null
//   await seen.update({ name: 'a.jpg' }, { add: { views: 1 } })
//   for await (const item of seen.query('a.jpg')) ...
//   await rouse.queue('jobs').send({ any: 'JSON' }, { delay: 10 })
//   for (const m of await rouse.queue('jobs').receive(10, { wait: 5 })) ...
//   await rouse.stream('clicks').append({ page: '/' }, { key: 'user-7' })
//   await rouse.bucket('photos').put('a.jpg', data, { contentType: 'image/jpeg' })
//   const readable = await rouse.bucket('photos').open('a.jpg')
//   await rouse.invoke('resize', { photo: 'a.jpg' })  // its result
//   await rouse.emit('inbox', { any: 'JSON' }, { type: 'photo.added' })
//
// A function may use what it was deployed with as "allow", such as
// "table:seen rw", "queue:jobs w", "function:resize w", and nothing else; a call
// that it may not make fails with an Error whose kind is "denied". Times are
// numbers of seconds, or text such as "90s".
'use strict'

const CONNECTIONS = 32 // at once; more calls wait for each other

// RouseError is what the platform refused, or how a function that was invoked
// failed: kind is a word such as "denied", "not found", "conflict" or
// "throttled", or of a function "failed", "timed out" and so on; status is that
// of HTTP, 0 where the platform was not reached. items are those, as they are,
// whose condition did not hold, where the call asks for items with returns.
class RouseError extends Error {
  constructor (kind, message, status = 0, items = []) {
    super(`${kind}: ${message}`)
    this.name = 'RouseError'
    this.kind = kind
    this.status = status
    this.items = items
  }
}

// Values.

const isBytes = v => v instanceof Uint8Array
const base64 = b => Buffer.from(b.buffer, b.byteOffset, b.byteLength).toString('base64')

// A Decimal is a number that one of JavaScript's can't hold: text is all of it,
// and it counts as the nearest.
class Decimal {
  constructor (text) {
    this.text = String(text)
    if (!/^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(this.text)) throw new TypeError(`${this.text} is no decimal number`)
  }

  toString () { return this.text }
  valueOf () { return Number(this.text) }
  toJSON () { return Number(this.text) }
}

// plain is the digits and the exponent of a number, whatever way it is written.
function plain (text) {
  const [, sign, whole, part = '', exponent = 0] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)
  const digits = (whole + part).replace(/^0+/, '')
  const short = digits.replace(/0+$/, '')
  return short && `${sign}${short}e${Number(exponent) - part.length + digits.length - short.length}`
}

// parse reads JSON; an integer that a number can't hold becomes a BigInt, and of
// what is in tables another such number a Decimal.
function parse (text, decimals = false) {
  const mark = '$' + require('crypto').randomUUID()
  let marked = false
  if (/\d[\d.]{15}/.test(text)) {
    text = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, m => {
      if (m[0] === '"') return m
      const n = Number(m)
      if (/^-?\d+$/.test(m) ? Number.isSafeInteger(n) : !decimals || Number.isFinite(n) && plain(m) === plain(String(n))) return m
      marked = true
      return `{"${mark}":"${m}"}`
    })
  }
  if (!marked) return JSON.parse(text)
  return JSON.parse(text, (k, v) => {
    const number = v !== null && typeof v === 'object' && v[mark]
    return !number ? v : /^-?\d+$/.test(number) ? BigInt(number) : new Decimal(number)
  })
}

// typed makes of {"$binary": ...} and its like what JavaScript has for it.
function typed (v) {
  if (Array.isArray(v)) return v.map(typed)
  if (v === null || typeof v !== 'object' || v instanceof Decimal) return v
  const names = Object.keys(v)
  if (names.length === 1) {
    const inner = v[names[0]]
    switch (names[0]) {
      case '$binary': return Buffer.from(inner, 'base64')
      case '$strings': case '$numbers': return new Set(inner)
      case '$binaries': return new Set(inner.map(b => Buffer.from(b, 'base64')))
      case '$map': return readItem(inner)
    }
  }
  return readItem(v)
}

function readItem (members) {
  if (!members) return null
  const item = {}
  for (const [k, v] of Object.entries(members)) define(item, k, typed(v))
  return item
}

// define sets a member whatever its name; "__proto__" would set something else.
function define (object, name, value) {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
}

// write writes a value as JSON: bytes, Sets, BigInts and Decimals too. With wrap, an
// object is data even where it looks like {"$binary": ...}.
function write (v, wrap = false) {
  if (typeof v === 'bigint') return v.toString()
  if (typeof v === 'number' && !Number.isFinite(v)) throw new TypeError(`${v} is no number that can be stored`)
  if (v === null || typeof v !== 'object') {
    const text = JSON.stringify(v)
    if (text === undefined) throw new TypeError(`${typeof v} is nothing that can be stored`)
    return text
  }
  if (v instanceof Decimal) return v.text
  if (isBytes(v)) return `{"$binary":"${base64(v)}"}`
  if (Array.isArray(v)) return `[${v.map(e => write(e, wrap)).join(',')}]`
  if (v instanceof Set) {
    const all = [...v]
    if (all.every(e => typeof e === 'string')) return `{"$strings":${JSON.stringify(all)}}`
    if (all.every(isBytes)) return `{"$binaries":${JSON.stringify(all.map(base64))}}`
    return `{"$numbers":[${all.map(e => write(e)).join(',')}]}`
  }
  if (typeof v.toJSON === 'function') return write(v.toJSON(), wrap)
  const text = writeMembers(v, wrap)
  const names = Object.keys(v).filter(k => v[k] !== undefined)
  return wrap && names.length === 1 && names[0].startsWith('$') ? `{"$map":${text}}` : text
}

function writeMembers (object, wrap) {
  const members = Object.entries(object).filter(([, v]) => v !== undefined)
  return `{${members.map(([k, v]) => JSON.stringify(k) + ':' + write(v, wrap)).join(',')}}`
}

// item writes an item, or a key.
function item (v) {
  if (v === null || typeof v !== 'object' || Array.isArray(v)) throw new TypeError('an item and a key are an object such as {name: "a"}')
  return writeMembers(v, true)
}

const span = seconds => typeof seconds === 'string' ? seconds : seconds * 1000
const content = (name, v) => isBytes(v) ? { [name + 'Base64']: base64(v) } : { [name]: v }
const carried = (name, got) => got[name + 'Base64'] != null ? Buffer.from(got[name + 'Base64'], 'base64') : got[name]
const maybe = (f, v) => v === undefined || v === null ? undefined : f(v)

// members is JSON of an object without what is undefined; the values are JSON already.
const members = given => `{${Object.entries(given).filter(([, v]) => v !== undefined).map(([k, v]) => `"${k}":${v}`).join(',')}}`

// The way to the platform.

let agent

// ask sends one request and returns the answer, a stream; it fails where that
// is an error.
async function ask (method, path, { body, query = {}, headers = {} } = {}) {
  const { ROUSE_API: api, ROUSE_TOKEN: token } = process.env
  if (!api || !token) throw new RouseError('denied', 'this function may not use the platform; deploy it with what it needs as "allow", such as "table:seen rw"')
  const http = require('http')
  if (!agent) agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS })
  const given = Object.entries(query).filter(([, v]) => v !== undefined && v !== '')
  if (given.length) path += '?' + new URLSearchParams(given)
  const send = { Authorization: `Bearer ${token}`, ...headers }
  const streamed = body && typeof body.pipe === 'function'
  if (body && !streamed) send['Content-Length'] = Buffer.byteLength(body)
  const { hostname, port } = new URL(api)
  const once = () => new Promise((resolve, reject) => {
    const request = http.request({ agent, method, hostname, port, path, headers: send }, resolve)
    request.on('error', e => {
      // The platform closed a connection that was not in use: it saw no request.
      if (request.reusedSocket && !streamed && (e.code === 'ECONNRESET' || e.code === 'EPIPE')) return resolve(once())
      reject(e instanceof RouseError ? e : new RouseError('unavailable', `the platform does not answer: ${e.message}`))
    })
    if (!streamed) return request.end(body)
    body.on('error', e => request.destroy(e))
    body.pipe(request)
  })
  const answer = await once()
  if (answer.statusCode >= 400) throw refusal(answer.statusCode, await readAll(answer))
  return answer
}

async function readAll (readable) {
  const chunks = []
  try {
    for await (const c of readable) chunks.push(c)
  } catch (e) {
    throw new RouseError('unavailable', `the platform ended its answer too early: ${e.message}`)
  }
  return Buffer.concat(chunks)
}

function refusal (status, body) {
  try {
    const { error, refused } = parse(body.toString(), true)
    return new RouseError(error.kind, error.type ? `${error.type}: ${error.message}` : error.message, status, (refused || []).map(w => readItem(w.item)))
  } catch {
    return new RouseError({ 403: 'denied', 404: 'not found' }[status] || 'internal', `the platform answered with status ${status}`, status)
  }
}

async function post (path, body, decimals) {
  const text = (await readAll(await ask('POST', path, { body, headers: { 'Content-Type': 'application/json' } }))).toString()
  return text ? parse(text, decimals) : null
}

class Thing {
  constructor (service, name) {
    this.name = name
    this.path = `/v1/${service}/${encodeURIComponent(name)}/`
  }
}

// A Table holds items, which are objects. An integer that a number can't hold is
// a BigInt, and another such number a Decimal; bytes (Buffers) and Sets of strings, numbers or bytes are kept as
// they are.
class Table extends Thing {
  post (what, body) { return post(this.path + what, body, true) }

  // get returns the item of a key, which is an object; null where there is none.
  async get (key) { return readItem((await this.post('get', members({ key: item(key) }))).item) }

  // getMany returns the items of several keys at one moment, in order, null
  // where there is none.
  async getMany (keys) {
    return (await this.post('get', members({ keys: `[${keys.map(item).join(',')}]` }))).items.map(readItem)
  }

  // put stores an item, and replaces the one of its key. An Error of kind
  // "conflict" says that the condition, such as {size: {lt: 5}} or {name:
  // {exists: false}}, does not hold. Where returns is "old", "new" or "both", the
  // result is {old, new}.
  put (value, options) { return this.change('put', options, { item: item(value) }) }

  // update changes attributes of an item, and makes it where there is none. Edits
  // are {set: {path: value}, remove: [path], add: {path: number or Set}, delete:
  // {path: Set}}, each of which may be missing; a value may be {$path: 'other'}
  // and so on.
  update (key, edits, options) { return this.change('update', options, { key: item(key), edits: write(edits) }) }

  // delete removes an item, if there is one.
  delete (key, options) { return this.change('delete', options, { key: item(key) }) }

  async change (what, { condition, returns } = {}, given) {
    const got = await this.post(what, members({ ...given, if: maybe(write, condition), return: maybe(JSON.stringify, returns) }))
    return got && returns ? Object.fromEntries(Object.entries(got).map(([k, v]) => [k, readItem(v)])) : undefined
  }

  // query iterates over the items of one partition, whose key is a value, in the
  // order of their sort attribute. Options: sort picks some of them, ['begins',
  // 'x'], ['ge', 5], ['between', 1, 9] and so on; index, reverse, filter (a
  // condition), attributes; limit is how many come at most.
  query (key, { sort, index, reverse, ...select } = {}) {
    return this.pages('query', select, { key: write(key, true), index: maybe(JSON.stringify, index), reverse: reverse ? 'true' : undefined,
      sort: maybe(([op, ...values]) => members({ op: JSON.stringify(op), values: write(values, true) }), sort) })
  }

  // scan iterates over all items, or over those of one of several segments that
  // can be scanned at the same time. Options: index, segment, segments, filter,
  // attributes, limit.
  scan ({ index, segment, segments, ...select } = {}) {
    return this.pages('scan', select, { index: maybe(JSON.stringify, index), segment, segments })
  }

  async * pages (what, { filter, attributes, limit = Infinity }, given) {
    let after
    while (limit > 0) {
      // A filter is asked of the items that were looked at, which limit counts.
      const size = limit === Infinity || filter ? undefined : limit
      const page = await this.post(what, members({ ...given, filter: maybe(write, filter), attributes: maybe(write, attributes), limit: size, after }))
      for (const found of page.items.slice(0, limit)) yield readItem(found)
      if (!page.after) return
      after = item(readItem(page.after))
      limit -= page.items.length
    }
  }
}

// A Message was received. Its body is what was sent; text that is JSON comes as
// its value.
class Message {
  constructor (got) {
    Object.assign(this, { id: got.id, receipt: got.receipt, body: carried('body', got), attributes: got.attributes || {}, group: got.group, count: got.count, sent: got.sent })
  }
}

const receipt = m => typeof m === 'string' ? m : m.receipt

class Queue extends Thing {
  // send sends a message, any JSON value, text or bytes, and returns its id.
  // Options: delay, ttl, attributes, group, dedup.
  async send (body, options) { return (await this.sendMany([body], options))[0] }

  // sendMany sends messages together, all or none, and returns their ids.
  async sendMany (bodies, { delay, ttl, attributes, group, dedup } = {}) {
    const more = { delay: maybe(span, delay), ttl: maybe(span, ttl), attributes, group, dedup }
    return (await post(this.path + 'messages', JSON.stringify({ messages: bodies.map(b => ({ ...content('body', b), ...more })) }))).messages.map(m => m.id)
  }

  // receive receives up to n Messages, which others don't see for the time
  // visibility, and waits for a first one. Options: visibility, wait.
  async receive (n = 1, { visibility, wait = 0 } = {}) {
    const got = await post(this.path + 'receive', JSON.stringify({ max: n, wait: span(wait), visibility: maybe(span, visibility) }))
    return got.messages.map(m => new Message(m))
  }

  // delete deletes received Messages, or those of receipts: one or an array. It
  // says of each whether it was still there for us to delete.
  async delete (messages) {
    const many = Array.isArray(messages)
    const { deleted } = await post(this.path + 'delete', JSON.stringify({ receipts: (many ? messages : [messages]).map(receipt) }))
    return many ? deleted : deleted[0]
  }

  // extend makes a received Message visible after another time, 0 at once, and
  // returns the new receipt.
  async extend (message, visibility) {
    const got = await post(this.path + 'extend', JSON.stringify({ receipt: receipt(message), visibility: span(visibility) }))
    if (message instanceof Message) message.receipt = got.receipt
    return got.receipt
  }
}

class Stream extends Thing {
  // append appends a record, any JSON value, text or bytes; an array is several,
  // all or none. Records of one key stay in order: key is text, or a function
  // that makes it of a record; without one they are spread. It returns the
  // position of each, {shard, sequence}, in an array where an array was given.
  async append (records, { key } = {}) {
    const many = Array.isArray(records)
    const keyOf = typeof key === 'function' ? key : () => key === undefined ? require('crypto').randomUUID() : key
    const body = JSON.stringify({ records: (many ? records : [records]).map(r => ({ ...content('data', r), key: keyOf(r) })) })
    const { positions } = await post(this.path + 'records', body)
    return many ? positions : positions[0]
  }
}

class Bucket extends Thing {
  at (key) {
    if (typeof key !== 'string' || key === '') throw new TypeError('a key is text that is not empty')
    return this.path + 'objects/' + key.split('/').map(encodeURIComponent).join('/')
  }

  // put stores an object: bytes, text or a Readable. Options: contentType, meta.
  async put (key, data, { contentType, meta = {} } = {}) {
    const headers = { 'Content-Type': contentType || (typeof data === 'string' ? 'text/plain; charset=utf-8' : 'application/octet-stream') }
    for (const [k, v] of Object.entries(meta)) headers['Rouse-Meta-' + k] = v
    const text = (await readAll(await ask('PUT', this.at(key), { body: data, headers }))).toString()
    return text ? parse(text) : undefined
  }

  // get returns the bytes of an object. An Error of kind "not found" says that
  // there is none.
  async get (key) { return readAll(await this.open(key)) }

  // open returns an object as a Readable; it has headers. Read it to its end or
  // destroy it: no more than 32 can be open at once.
  open (key) { return ask('GET', this.at(key)) }

  // delete removes an object, if there is one.
  async delete (key) { await readAll(await ask('DELETE', this.at(key))) }

  // list iterates over the objects whose key begins with prefix, by key: {key,
  // size, etag, ...}.
  async * list (prefix = '') {
    let after
    do {
      const page = parse((await readAll(await ask('GET', this.path + 'objects', { query: { prefix, after } }))).toString())
      yield * page.objects || []
      after = page.next
    } while (after)
  }
}

// invoke runs a function on an event, any JSON value, and returns its result; an
// Error says how it failed. Options: qualifier; asynchronous: it runs later, and
// the result is the id of its activation.
async function invoke (name, event = null, { asynchronous = false, qualifier } = {}) {
  const answer = await ask('POST', `/v1/functions/${encodeURIComponent(name)}/invoke`, {
    body: JSON.stringify(event), query: { async: asynchronous ? 'true' : undefined, qualifier }, headers: { 'Content-Type': 'application/json' } })
  const kind = answer.headers['content-type'] || ''
  const body = await readAll(answer)
  if (kind.startsWith('application/json')) {
    const value = body.length ? parse(body.toString()) : null
    return asynchronous ? value.activation : value
  }
  return kind.startsWith('text/') ? body.toString() : body
}

// emit makes an event as if the trigger had, and returns its id. An event of the
// same id is made once. Options: type, subject, id, attributes.
async function emit (trigger, data, { type, subject, id, attributes } = {}) {
  const event = { ...(data === undefined ? {} : content('data', data)), contentType: isBytes(data) ? 'application/octet-stream' : undefined, type, subject, id, attributes }
  return (await post(`/v1/triggers/${encodeURIComponent(trigger)}/fire`, JSON.stringify({ events: [event] }))).ids[0]
}

exports.Error = RouseError
exports.Decimal = Decimal
exports.Message = Message
exports.table = name => new Table('tables', name)
exports.queue = name => new Queue('queues', name)
exports.stream = name => new Stream('streams', name)
exports.bucket = name => new Bucket('buckets', name)
exports.invoke = invoke
exports.emit = emit
