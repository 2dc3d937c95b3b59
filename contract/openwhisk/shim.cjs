// The contract of OpenWhisk actions: function main (args), exported or not, which
// returns an object, an array or a promise of one. The first event is {kind, main,
// env, provideKey}, answered with {ok, message, stack}. All others are arguments,
// after the name of their transaction where it is not the activation's.
'use strict'
const fs = require('fs')
const path = require('path')
const util = require('util')
const Module = require('module')
const { syncBuiltinESMExports } = Module
const { pathToFileURL } = require('url')

const NOT_JSON = 'The action did not produce a valid JSON or JSON Array response: '
const FAILED = 'Initialization has failed due to: '

// sources are filled in below, where this is put together.
const sources = {}

// DeveloperError is what is wrong with the code, as its caller is told.
class DeveloperError extends Error {
  constructor (message, stack) {
    super(message)
    this.name = 'DeveloperError'
    if (stack !== undefined) this.stack = stack
  }
}

// Results.

const isPromise = v => v !== null && typeof v === 'object' && typeof v.then === 'function'

// check returns a result that may be one.
function check (result) {
  if (result === undefined) return {}
  if (result === null) throw new DeveloperError(NOT_JSON + 'null')
  if (typeof result !== 'object') {
    console.error(`Result must be of type object but has type "${typeof result}":`, result)
    throw new DeveloperError('The action did not return a dictionary.')
  }
  return result
}

// rejected makes of what a promise was rejected with a result.
const rejected = e => ({ error: e ? plain(e, []) : {} })

// plain is a value without what JSON can't hold; an Error becomes an object with
// its name, message and stack.
function plain (value, above) {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value !== 'object') return value
  if (above.includes(value)) return '[Circular]'
  if (Buffer.isBuffer(value)) return '[object Buffer]'
  const within = [...above, value]
  if (Array.isArray(value)) return value.map(v => plain(v, within))
  if (typeof value.toJSON === 'function') return value.toJSON()
  const to = {}
  for (const [key, v] of Object.entries(value)) if (typeof v !== 'function') to[key] = plain(v, within)
  for (const key of ['name', 'message', 'stack', 'code', 'cause']) {
    if (value instanceof Error && value[key] !== undefined) to[key] = key === 'stack' ? own(value.stack) : plain(value[key], within)
  }
  return to
}

// own is a stack without the frames of the platform.
const own = stack => String(stack).split('\n').filter(line => !line.includes(__dirname + path.sep)).join('\n')

const stackOf = e => e && e.stack ? own(e.stack) : String(e)

// Code.

// ours is where the module openwhisk seems to be.
const ours = path.join(__dirname, 'openwhisk.cjs')

// offer has require find the module openwhisk, where nobody brings another.
function offer () {
  const resolve = Module._resolveFilename
  Module._resolveFilename = function (request, ...rest) {
    try {
      return resolve.call(this, request, ...rest)
    } catch (e) {
      if (request !== 'openwhisk' || e.code !== 'MODULE_NOT_FOUND') throw e
      if (!Module._cache[ours]) compile(ours, sources.client)
      return ours
    }
  }
}

const IMPORTS = /\b(?:from|import)\s*\(?\s*['"]openwhisk['"]/
const MAX_FILES = 1000
const MAX_SIZE = 1 << 20

// mentions says whether a file of the code in a folder, dependencies not counted,
// imports the module openwhisk.
function mentions (folder) {
  let left = MAX_FILES
  const within = at => fs.readdirSync(at, { withFileTypes: true }).some(entry => {
    const file = path.join(at, entry.name)
    if (entry.isDirectory()) return entry.name !== 'node_modules' && within(file)
    return entry.isFile() && /\.[cm]?js$/.test(file) && left-- > 0 && fs.statSync(file).size <= MAX_SIZE && IMPORTS.test(fs.readFileSync(file, 'utf8'))
  })
  return within(folder)
}

// offerImport has import find what require does. An older Node has a thread of its
// own for that, which takes long to start and is asked by import alone, not where
// require loads a module that imports. It returns whether that is so here.
function offerImport (root) {
  const url = 'data:text/javascript,' + encodeURIComponent(`import { createRequire } from 'node:module'
export default createRequire(${JSON.stringify(path.join(root, 'x'))})('openwhisk')`)
  const found = { url, format: 'module', shortCircuit: true }
  const isMissing = (e, request) => request === 'openwhisk' && e.code === 'ERR_MODULE_NOT_FOUND'
  if (Module.registerHooks) {
    Module.registerHooks({
      resolve (request, context, next) {
        try {
          return next(request, context)
        } catch (e) {
          if (!isMissing(e, request)) throw e
          return found
        }
      }
    })
    return false
  }
  const threaded = Module.register !== undefined && mentions(root)
  if (threaded) {
    Module.register('data:text/javascript,' + encodeURIComponent(`const isMissing = ${isMissing}
export const resolve = (request, context, next) => next(request, context).catch(e => {
  if (!isMissing(e, request)) throw e
  return ${JSON.stringify(found)}
})`))
  }
  return threaded
}

// compile runs the source of a module.
function compile (file, source) {
  const m = new Module(file, module)
  m.filename = file
  m.paths = Module._nodeModulePaths(path.dirname(file))
  Module._cache[file] = m
  try {
    m._compile(source, file, 'commonjs') // else new Nodes look for an import in it
  } catch (e) {
    delete Module._cache[file]
    throw e
  }
  m.loaded = true
  return m
}

const isFile = file => fs.existsSync(file) && fs.statSync(file).isFile()

// entry is the file that the code begins with; a main of two parts may name it.
function entry (root, module) {
  if (module) {
    for (const end of ['', '.js', '.cjs', '.mjs', '/index.js']) if (isFile(path.join(root, module + end))) return path.join(root, module + end)
  }
  try {
    return Module.createRequire(path.join(root, 'x')).resolve(root)
  } catch (e) {
    for (const name of ['index.mjs', 'index.cjs']) if (isFile(path.join(root, name))) return path.join(root, name)
    if (isFile(path.join(root, 'package.json'))) throw e
    throw new DeveloperError(FAILED + 'Zipped actions must contain either package.json or index.js at the root.')
  }
}

const NAME = /^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$/
const local = Symbol('what main names in the module, exported or not')

// evaluate loads a file so that what it does not export is found as well.
async function evaluate (root, file, name, load) {
  const isModule = file.endsWith('.mjs') || !/\.c?js$/.test(file)
  const source = isModule ? '' : fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '').replace(/^#!/, '//')
  if ((isModule || /\b(?:import|export)\b/.test(source)) && offerImport(root)) load = file => import(pathToFileURL(file).href)
  if (isModule || !NAME.test(name)) return { exports: await load(file) }
  const key = '__openwhisk_main'
  try {
    const m = compile(file, `${source}\n;module.${key} = (() => { try { return ${name} } catch (e) {} })()`)
    const found = { exports: m.exports, [local]: m[key] }
    delete m[key]
    return found
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e
    // Where the code ends too early, what it lacks is missed in our line only.
    if (String(e.stack).includes(`module.${key}`)) return { exports: compile(file, source).exports }
    if (!/import|export/.test(e.message)) throw e
    return { exports: await load(file) }
  }
}

const pick = (from, name) => name.split('.').reduce((v, part) => v === null || v === undefined ? undefined : v[part], from)

// find loads the code and returns its main function.
async function find (root, main, load) {
  const dot = main.indexOf('.')
  const module = dot > 0 ? main.slice(0, dot) : ''
  const file = entry(root, module)
  const byFile = module && path.basename(file).replace(/\.[cm]?js$/, '') === module
  const name = byFile ? main.slice(dot + 1) : main
  const found = await evaluate(root, file, name, load)
  const exported = found.exports
  for (const f of [pick(exported, name), pick(exported && exported.default, name), found[local]]) if (typeof f === 'function') return f
  for (const f of [exported, exported && exported.default]) if (typeof f === 'function' && name === 'main') return f
  throw new DeveloperError(`${FAILED}Action entrypoint '${main}' is not a function.`)
}

// setEnvironment tells the code what is the same for all its events.
function setEnvironment (init) {
  const env = process.env
  Object.assign(env, init.env)
  if (env.ROUSE_API) env.__OW_API_HOST = env.ROUSE_API
  if (init.provideKey && env.ROUSE_TOKEN) env.__OW_API_KEY = 'instance:' + env.ROUSE_TOKEN
}

// ownEnvironment puts an object in the place of process.env and returns what is
// below it, where values can be changed with each event: the C library keeps for
// ever whatever the real one was given. What the code sets goes there as well.
function ownEnvironment () {
  const real = process.env
  const env = { ...real }
  const set = (target, key, value) => {
    target[key] = String(value)
    if (typeof key === 'string') real[key] = value
    return true
  }
  process.env = new Proxy(env, {
    set,
    defineProperty: (target, key, { value }) => set(target, key, value),
    deleteProperty: (target, key) => delete target[key] && delete real[key]
  })
  syncBuiltinESMExports()
  return env
}

// load returns what answers the events of the code in the folder root.
exports.load = async function (start, load, root) {
  let env = {}
  let initialized = root === __dirname // for nobody
  let main = args => args

  async function initialize (init) {
    initialized = true
    setEnvironment(init)
    env = ownEnvironment()
    offer()
    try {
      main = await find(root, init.main, load)
      return { ok: true }
    } catch (e) {
      const stack = stackOf(e)
      console.error('Error during initialization:', stack)
      if (e instanceof DeveloperError) return { ok: false, message: e.message }
      return { ok: false, message: FAILED + stack, stack }
    }
  }

  return (payload, http, context) => {
    if (!initialized) return initialize(JSON.parse(payload.utf8Slice()))
    let transaction = context.activation
    let value
    try {
      let text = payload.utf8Slice()
      if (text[0] === '"') [transaction, text] = cutString(text)
      value = JSON.parse(text)
    } catch {
      throw new DeveloperError('The action did not receive a dictionary or array as an argument.')
    }
    env.__OW_ACTIVATION_ID = context.activation
    env.__OW_TRANSACTION_ID = transaction
    env.__OW_DEADLINE = String(Math.trunc(context.deadline))
    let result
    try {
      result = main(value)
    } catch (e) {
      console.error(e instanceof Error ? own(util.inspect(e)) : e)
      throw new DeveloperError(`An error has occurred: ${e}`, stackOf(e))
    }
    return isPromise(result) ? Promise.resolve(result).then(check, rejected) : check(result)
  }
}

// cutString reads the string that a text begins with, and returns what is left.
function cutString (text) {
  const [quoted] = text.match(/^"(?:[^"\\]|\\.)*"/)
  return [JSON.parse(quoted), text.slice(quoted.length)]
}
