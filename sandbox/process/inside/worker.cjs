// What runs in every Node instance: a generic worker that waits for its start,
// becomes one function and answers events, or runs the code as a program. The
// frames are those of worker.py, over descriptor 4 (in) and 5 (out).
//
// An instance that answers one event at a time reads its pipe synchronously:
// that is one system call, where the event loop takes several. What a handler
// leaves running goes on with the next event.
'use strict'
const fs = require('fs')
const path = require('path')
const { pathToFileURL } = require('url')

const INPUT = 4
const OUTPUT = 5
const [JSON_, TEXT, BYTES] = [0, 1, 2]
const MORE = 1 << 16
const waiting = new Int32Array(new SharedArrayBuffer(4))

let code = '/fn' // folder of the bundle; a stack says "/fn" wherever it is
let buffer = Buffer.allocUnsafe(MORE)
let begin = 0
let end = 0

// need sees to it that n bytes are buffered; false at the end of the pipe.
function need (n) {
  if (begin === end) begin = end = 0
  if (buffer.length - begin < n) {
    const bigger = buffer.length < n ? Buffer.allocUnsafe(Math.max(n, MORE)) : buffer
    buffer.copy(bigger, 0, begin, end)
    end -= begin
    begin = 0
    buffer = bigger
  }
  while (end - begin < n) {
    const got = fs.readSync(INPUT, buffer, end, buffer.length - end, null)
    if (got === 0) return false
    end += got
  }
  return true
}

function readFrame () {
  if (!need(9)) return null
  const size = buffer.readUInt32LE(begin) - 5
  const frame = { type: String.fromCharCode(buffer[begin + 4]), sequence: buffer.readUInt32LE(begin + 5), body: null }
  if (!need(9 + size)) return null
  frame.body = buffer.subarray(begin + 9, begin + 9 + size) // until the next one is read
  begin += 9 + size
  return frame
}

let sink = OUTPUT // -1 is nowhere

function write (data, size) {
  let at = sink < 0 ? size : 0
  while (at < size) {
    try {
      at += fs.writeSync(sink, data, at, size - at)
    } catch (e) {
      if (e.code !== 'EAGAIN') throw e
      Atomics.wait(waiting, 0, 0, 1)
    }
  }
}

function send (type, sequence, ...parts) {
  let size = 5
  for (let i = 0; i < parts.length; i++) {
    if (!Buffer.isBuffer(parts[i])) parts[i] = Buffer.from(parts[i])
    size += parts[i].length
  }
  const head = Buffer.allocUnsafe(4 + size)
  head.writeUInt32LE(size, 0)
  head[4] = type.charCodeAt(0)
  head.writeUInt32LE(sequence, 5)
  let at = 9
  for (const part of parts) {
    part.copy(head, at)
    at += part.length
  }
  write(head, head.length)
}

const scratch = Buffer.allocUnsafe(MORE)

// sendText sends an answer that is a string, without a buffer of its own where
// it is short.
function sendText (sequence, kind, text, limit) {
  const size = Buffer.byteLength(text)
  if (size > limit) throw new AnswerTooLarge(size, limit)
  if (size > MORE - 10) return send('A', sequence, KINDS[kind], text)
  scratch.writeUInt32LE(size + 6, 0)
  scratch[4] = 65 // A
  scratch.writeUInt32LE(sequence, 5)
  scratch[9] = kind
  scratch.write(text, 10)
  write(scratch, size + 10)
}

// Context is what a function may know of its invocation.
class Context {
  constructor (activation, deadline, start) {
    this.activation = activation
    this.deadline = deadline
    this.function = start.name
    this.namespace = start.namespace
    this.version = start.version
    this.memory = start.memory
    this.contentType = '' // of an event that is neither JSON nor an HTTP request
  }

  remainingMs () { return Math.max(0, this.deadline - Date.now()) }
}

function failure (e) {
  if (e instanceof Error) {
    const stack = String(e.stack || e).split('\n').filter(line => !/^\s+at /.test(line) || !line.includes(__dirname + '/')).join('\n').replaceAll(code + '/', '/fn/')
    return { type: cut(e.name || 'Error'), message: cut(e.message), stack: cut(stack) }
  }
  let message
  try { message = typeof e === 'string' ? e : JSON.stringify(e) } catch { message = String(e) }
  return { type: 'Error', message: cut(message === undefined ? e : message), stack: '' }
}

// cut leaves out the middle of a text that nobody would read.
function cut (text, most = 1 << 16) {
  text = String(text)
  return text.length <= most ? text : text.slice(0, most / 2) + ` ... ${text.length - most} more ... ` + text.slice(-most / 2)
}

class AnswerTooLarge extends Error {
  constructor (size, limit) {
    super(`the answer has ${size} bytes; the limit is ${limit}`)
    this.name = 'AnswerTooLarge'
  }
}

class NeverSettled extends Error {
  constructor () {
    super('the promise that the function returned was never resolved, and nothing is left that could')
    this.name = 'NeverSettled'
  }
}

class NotJSON extends TypeError {
  constructor (message) {
    super('the result is not JSON: ' + message)
    this.name = 'NotJSON'
  }
}

function stringify (value) {
  let out
  try { out = JSON.stringify(value === undefined ? null : value) } catch (e) { throw new NotJSON(e.message) }
  if (out === undefined) throw new NotJSON(`a ${typeof value} can't be written`)
  return out
}

function encode (value, limit) {
  const bytes = Buffer.from(stringify(value))
  if (bytes.length > limit) throw new AnswerTooLarge(bytes.length, limit)
  return bytes
}

const kind = n => Buffer.from([n])
const KINDS = [kind(JSON_), kind(TEXT), kind(BYTES)]

// Worker answers events with the handler that the contract's shim made.
class Worker {
  constructor (start, handle) {
    this.start = start
    this.handle = handle
    this.limit = start.answer
    this.open = new Set() // frames of events whose promises are waited for
  }

  parse (body) {
    const deadline = body.readDoubleLE(0)
    const length = body[8]
    let at = 9 + length
    const activation = body.latin1Slice(9, at)
    const size = body.readUInt32LE(at)
    at += 4
    const context = new Context(activation, deadline, this.start)
    let http = size ? JSON.parse(body.utf8Slice(at, at + size)) : null
    if (http && !('method' in http)) {
      context.contentType = http.contentType
      http = null
    }
    return [context, http, body.subarray(at + size)]
  }

  bounded (bytes) {
    if (bytes.length > this.limit) throw new AnswerTooLarge(bytes.length, this.limit)
    return bytes
  }

  // answer sends what a handler returned; it returns a promise only for a stream.
  answer (sequence, result, http) {
    if (result !== null && typeof result === 'object' && isStream(result)) return this.stream(sequence, 200, {}, result)
    if (http) {
      if (result && typeof result === 'object' && Number.isInteger(result.status ?? result.statusCode)) return this.respond(sequence, result)
      if (typeof result === 'string') return sendText(sequence, TEXT, result, this.limit)
    }
    if (result instanceof Uint8Array) return send('A', sequence, KINDS[BYTES], this.bounded(Buffer.from(result)))
    sendText(sequence, JSON_, stringify(result), this.limit)
  }

  respond (sequence, result) {
    const status = result.status ?? result.statusCode
    if (status < 200 || status > 999) throw new RangeError(`an HTTP status is a number from 200 to 999, not ${status}`)
    const headers = result.headers instanceof Map ? Object.fromEntries(result.headers) : { ...result.headers }
    let body = result.body
    if (body && typeof body === 'object' && isStream(body)) return this.stream(sequence, status, headers, body)
    if (body === undefined || body === null) body = Buffer.alloc(0)
    else if (typeof body === 'string') {
      if (result.isBase64Encoded) body = decoded(body)
      else {
        body = Buffer.from(body)
        fallback(headers, 'text/plain; charset=utf-8')
      }
    } else if (!(body instanceof Uint8Array)) {
      body = encode(body, this.limit)
      fallback(headers, 'application/json')
    }
    this.bounded(body)
    for (const k of Object.keys(headers)) if (k.toLowerCase() === 'content-length') delete headers[k] // it may lie
    headers['Content-Length'] = String(body.length)
    send('H', sequence, encode({ status, headers }, 1 << 20))
    if (body.length) send('C', sequence, Buffer.from(body))
    send('Z', sequence)
  }

  async stream (sequence, status, headers, chunks) {
    send('H', sequence, encode({ status, headers }, 1 << 20))
    for await (const chunk of chunks) {
      if (typeof chunk === 'string' || chunk instanceof Uint8Array) send('C', sequence, chunk)
      else send('C', sequence, stringify(chunk) + '\n') // a line of JSON
    }
    send('Z', sequence)
  }

  // run answers one event; it returns a promise only where the handler did, or
  // a stream.
  run (frame) {
    try {
      const [context, http, payload] = this.parse(frame.body)
      const result = this.handle(payload, http, context)
      const answered = isPromise(result) ? Promise.resolve(result).then(r => this.answer(frame.sequence, r, http)) : this.answer(frame.sequence, result, http)
      return answered && answered.catch(e => this.fail(frame, e))
    } catch (e) {
      this.fail(frame, e)
    }
  }

  fail (frame, e) { send('F', frame.sequence, JSON.stringify(failure(e))) }

  // failAll ends the events that are open with the error that ends the process.
  failAll (e) {
    for (const frame of this.open) send('F', frame.sequence, JSON.stringify({ ...failure(e), last: true }))
    this.open.clear()
  }

  serve () {
    for (;;) {
      const frame = readFrame()
      if (frame === null) process.exit(0)
      const promise = this.run(frame)
      if (promise) {
        // The event loop must turn for the promise; it comes back to the pipe after.
        this.open.add(frame)
        promise.then(() => {
          this.open.delete(frame)
          setImmediate(() => this.serve())
        })
        return
      }
    }
  }

  // serveMany answers events as they come, several at a time.
  serveMany () {
    const { AsyncLocalStorage } = require('async_hooks')
    const current = new AsyncLocalStorage()
    tagLogs(current)
    const socket = new (require('net').Socket)({ fd: INPUT, readable: true, writable: false })
    let rest = Buffer.alloc(0)
    socket.on('data', data => {
      rest = rest.length ? Buffer.concat([rest, data]) : data
      while (rest.length >= 9) {
        const size = rest.readUInt32LE(0) + 4
        if (rest.length < size) return
        const frame = { type: String.fromCharCode(rest[4]), sequence: rest.readUInt32LE(5), body: rest.subarray(9, size) }
        rest = rest.subarray(size)
        const promise = current.run(frame.sequence, () => this.run(frame))
        if (promise) {
          this.open.add(frame)
          promise.then(() => this.open.delete(frame))
        }
      }
    })
    socket.on('end', () => process.exit(0))
  }
}

const isPromise = v => v !== null && typeof v === 'object' && typeof v.then === 'function'
const isStream = v => typeof v[Symbol.asyncIterator] === 'function' ||
  (typeof v[Symbol.iterator] === 'function' && typeof v.next === 'function')

// decoded is a body that came in base64, of one line or several.
function decoded (body) {
  const written = body.replace(/\s/g, '')
  const raw = Buffer.from(written, 'base64')
  if (raw.toString('base64') === written) return raw
  throw new TypeError('isBase64Encoded is set, and the body is not in base64')
}

function fallback (headers, type) {
  if (!Object.keys(headers).some(k => k.toLowerCase() === 'content-type')) headers['Content-Type'] = type
}

// tagLogs sends each printed line with the event that it belongs to.
function tagLogs (current) {
  for (const [name, number] of [['stdout', 1], ['stderr', 2]]) {
    const plain = process[name].write.bind(process[name])
    process[name].write = (chunk, encoding, done) => {
      const sequence = current.getStore()
      if (sequence === undefined) return plain(chunk, encoding, done)
      for (const line of String(chunk).replace(/\n$/, '').split('\n')) send('L', sequence, kind(number), line)
      const callback = typeof encoding === 'function' ? encoding : done
      if (callback) callback()
      return true
    }
  }
}

// become makes this worker the function that start names.
async function become (start) {
  for (const key of Object.keys(process.env)) delete process.env[key]
  Object.assign(process.env, start.env)
  require('module')._initPaths() // which reads NODE_PATH
  code = start.code
  process.chdir(code)
  if (start.mode === 'serve') {
    fs.closeSync(INPUT)
    fs.closeSync(OUTPUT)
    // A dependency may bring the program.
    const home = start.handler.startsWith('node_modules/') && start.deps && !fs.existsSync(path.join(code, start.handler)) ? start.deps : code
    process.argv = [process.argv[0], path.join(home, start.handler)]
    // eslint-disable-next-line n/no-deprecated-api
    return require('module').runMain(process.argv[1])
  }
  let worker, shim
  try {
    shim = require(path.join(__dirname, `shim_${start.shim}.cjs`))
    worker = new Worker(start, await shim.load(start, load, code))
  } catch (e) {
    send('F', 0, JSON.stringify(failure(e)))
    process.exit(0)
  }
  for (const fault of ['unhandledRejection', 'uncaughtException']) {
    process.on(fault, e => {
      console.error(e)
      if (shim.tellsLost) worker.failAll(e)
      process.exit(1)
    })
  }
  // Nothing is left that could settle it.
  process.on('beforeExit', () => {
    if (shim.tellsLost) worker.failAll(new NeverSettled())
    process.exit(1)
  })
  send('R', 0)
  if (start.concurrency > 1) worker.serveMany()
  else worker.serve()
}

// load imports a module of the function, whichever its kind. A module without
// import or export is quicker by require.
async function load (file) {
  if (!file.endsWith('.mjs')) {
    try {
      return require(file)
    } catch (e) {
      if (e.code !== 'ERR_REQUIRE_ESM' && !(e instanceof SyntaxError && /import|export/.test(e.message))) throw e
    }
  }
  return import(pathToFileURL(file).href)
}

// warmUp does once, for nobody, what an instance does at its start: what is
// compiled for it is there when it is wanted.
async function warmUp () {
  sink = -1
  const start = { shim: 'native', handler: 'warm.main', answer: 1000, name: '', namespace: '', version: 1, memory: 1, env: { A: 'B' } }
  const worker = new Worker(start, await require('./shim_native.cjs').load(start, load, __dirname))
  const body = Buffer.concat([Buffer.alloc(8), Buffer.from([2]), Buffer.from('id'), Buffer.alloc(4), Buffer.from('{"a":[1,2.5,"x",null]}')])
  for (let i = 0; i < 3; i++) await worker.run({ sequence: 1, body })
  const environment = { ...process.env }
  for (const key of Object.keys(process.env)) delete process.env[key]
  Object.assign(process.env, environment)
  process.stdout.write('')
  sink = OUTPUT
}

async function main () {
  if (fs.existsSync(path.join(__dirname, 'shim_native.cjs'))) await warmUp()
  send('W', 0)
  const first = readFrame()
  if (first === null) process.exit(0)
  become(JSON.parse(first.body.toString()))
}

main()
