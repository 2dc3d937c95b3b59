// The module openwhisk, with which actions use the API that runs them:
//
//   const ow = require('openwhisk')()   // or ({ apihost, api_key, namespace, ... })
//   await ow.actions.invoke({ name: 'hello', params: { a: 1 }, blocking: true, result: true })
//   await ow.triggers.invoke({ name: 'changed', params: { a: 1 } })
//
// It takes and returns what the package of that name on npm does. A call that
// fails is an OpenWhiskError with statusCode, and error, the body of the answer.
'use strict'
const http = require('http')
const https = require('https')

class OpenWhiskError extends Error {
  constructor (message, error, statusCode) {
    super(message)
    this.name = 'OpenWhiskError'
    this.error = error
    if (statusCode !== undefined) this.statusCode = statusCode
  }
}

// Names.

const standard = () => process.env.__OW_NAMESPACE || '_'

// split makes of name, package/name, /namespace/name, /namespace/package/name or
// namespace/package/name its parts.
function split (id) {
  const parts = id.split('/')
  if (id.startsWith('/') && (parts.length === 3 || parts.length === 4)) return { namespace: parts[1], id: parts.slice(2).join('/') }
  if (!id.startsWith('/') && parts.length <= 2) return { id }
  if (!id.startsWith('/') && parts.length === 3) return { namespace: parts[0], id: parts.slice(1).join('/') }
  throw new Error('Invalid resource identifier from options. Should be "resource", "/namespace/resource" or "/namespace/package/resource".')
}

const pick = (from, names) => Object.fromEntries(names.filter(n => from && Object.hasOwn(from, n)).map(n => [n, from[n]]))
const pairs = object => Object.entries(object).map(([key, value]) => ({ key, value }))
const named = options => typeof options === 'string' ? { name: options } : { ...options }

// The connection.

// settings are the options of a client, those of the environment included.
function settings (options) {
  const env = process.env
  const host = options.apihost || env.__OW_API_HOST
  const version = options.apiversion || 'v1'
  const api = options.api || (host && `${/^https?:\/\//.test(host) ? '' : 'https://'}${host}/api/${version}/`)
  const apiKey = options.api_key || env.__OW_API_KEY
  if (!apiKey && !options.auth_handler) throw new Error('Invalid constructor options. Missing api_key parameter or token plugin.')
  if (!api) throw new Error('Invalid constructor options. Missing either api or apihost parameters.')
  if (options.retry && typeof options.retry !== 'object') throw new Error("Invalid constructor options. 'retry' option must be an object, e.g. '{ retries: 2 }'.")
  const apigwToken = options.apigw_token || env.__OW_APIGW_TOKEN
  return {
    ...options,
    api: api.endsWith('/') ? api : api + '/',
    apiKey,
    apiVersion: version,
    ignoreCerts: options.ignore_certs || (env.__OW_IGNORE_CERTS || '').toLowerCase() === 'true',
    apigwToken,
    apigwSpaceGuid: options.apigw_space_guid || env.__OW_APIGW_SPACE_GUID || (apigwToken && apiKey && apiKey.split(':')[0]),
    authHandler: options.auth_handler
  }
}

class Client {
  constructor (options = {}) { this.options = settings(options) }

  pathUrl (path) { return new URL(path, this.options.api).href }

  async headers (options) {
    const o = this.options
    const authorization = o.authHandler ? await o.authHandler.getAuthHeader() : 'Basic ' + Buffer.from(o.apiKey).toString('base64')
    const headers = { Accept: 'application/json', Authorization: authorization }
    if (!o.noUserAgent && !options.noUserAgent) headers['User-Agent'] = options['User-Agent'] || process.env.__OW_USER_AGENT || 'openwhisk-client-js'
    if (typeof o.namespace === 'string') headers['x-namespace-id'] = o.namespace
    if (process.env.__OW_TRANSACTION_ID) headers['x-request-id'] = process.env.__OW_TRANSACTION_ID
    return Object.assign(headers, options.headers)
  }

  // request resolves to the answer's body, read as JSON where it is.
  async request (method, path, options = {}) {
    const url = new URL(path, this.options.api)
    for (const [name, value] of Object.entries(options.qs || {})) url.searchParams.set(name, value)
    const headers = await this.headers(options)
    const retry = this.options.retry || { retries: 0 }
    let pause = retry.minTimeout || 100
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.send(method, url, headers, options.body)
      } catch (e) {
        if (attempt > (retry.retries ?? 2)) throw e
        if (retry.onRetry) retry.onRetry(e, attempt)
        await new Promise(resolve => setTimeout(resolve, pause))
        pause = Math.min(pause * (retry.factor || 2), retry.maxTimeout || Infinity)
      }
    }
  }

  send (method, url, headers, body) {
    const o = this.options
    const text = body === undefined ? '' : JSON.stringify(body)
    const all = { ...headers, 'Content-Length': Buffer.byteLength(text) }
    if (body !== undefined) all['Content-Type'] = 'application/json'
    // A connection each: between two events, nobody sees that one was closed.
    const how = { method, headers: all, agent: o.agent ?? false, rejectUnauthorized: !o.ignoreCerts, cert: o.cert, key: o.key }
    return new Promise((resolve, reject) => {
      const lost = e => reject(new OpenWhiskError(`Unknown Error From API: ${e.message}`, { error: e.message }))
      const request = (url.protocol === 'http:' ? http : https).request(url, how, answer => {
        const chunks = []
        answer.on('error', lost)
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('end', () => {
          const said = parse(Buffer.concat(chunks).toString())
          if (answer.statusCode < 400) return resolve(said)
          const message = `${method} ${url.href} Returned HTTP ${answer.statusCode} (${http.STATUS_CODES[answer.statusCode]}) --> "${explain(said)}"`
          reject(new OpenWhiskError(message, said, answer.statusCode))
        })
      })
      request.on('error', lost)
      request.end(text)
    })
  }
}

function parse (text) {
  try { return JSON.parse(text) } catch { return text }
}

// explain finds the text of an error in the body of an answer: the platform's, or
// what the action that was invoked said.
function explain (body) {
  const said = body && body.response && body.response.result && body.response.result.error
  for (const text of [body && body.error, said, said && said.error]) if (typeof text === 'string') return text
  return said && said.statusCode ? `application error, status code: ${said.statusCode}` : 'Response Missing Error Message.'
}

// Resources.

// Resources are the entities of one collection.
class Resources {
  constructor (client, collection, identifier, listed = ['skip', 'limit', 'count']) {
    Object.assign(this, { client, collection, identifiers: ['name', identifier], listed })
  }

  path (options, id) {
    const o = options || {}
    const namespace = [o.namespace, this.client.options.namespace].find(n => typeof n === 'string') ?? standard()
    const path = `namespaces/${encodeURIComponent(namespace)}/${this.collection}`
    return id ? `${path}/${id.split('/').map(encodeURIComponent).join('/')}` : path
  }

  async list (options = {}) {
    return this.client.request('GET', this.path(options), { ...options, qs: pick(options, this.listed), body: undefined })
  }

  // each does one thing to the entity that options name, or to several.
  async each (method, options, more) {
    if (Array.isArray(options)) return Promise.all(options.map(o => this.each(method, o, more)))
    const o = named(options)
    const key = this.identifiers.find(name => Object.hasOwn(o, name))
    if (!key) throw new Error(`Missing resource identifier from parameters, supported parameter names: ${this.identifiers.join(', ')}`)
    const { namespace, id } = split(o[key])
    const { qs, body } = more ? more(o) : {}
    return this.client.request(method, this.path(namespace ? { namespace } : o, id), { ...o, qs, body })
  }

  async get (options) { return this.each('GET', options) }
  async delete (options) { return this.each('DELETE', options) }

  async invoke (options) { return this.each('POST', options, o => ({ body: this.payload(o) })) }

  payload (options) {
    if (!Object.hasOwn(options, 'params')) return {}
    if (typeof options.params === 'object') return options.params ?? {}
    throw new Error('Invalid payload type, must be an object.')
  }

  async create (options) {
    return this.each('PUT', options, o => {
      const annotations = o.annotations && typeof o.annotations === 'object' ? { annotations: pairs(o.annotations) } : {}
      return { qs: pick(o, ['overwrite']), body: { ...annotations, ...this.describe(o) } }
    })
  }

  async update (options) {
    return this.create(Array.isArray(options) ? options.map(o => ({ ...named(o), overwrite: true })) : { ...named(options), overwrite: true })
  }
}

class Actions extends Resources {
  async get (options) { return this.each('GET', options, o => ({ qs: pick(o, ['code']) })) }

  async invoke (options) {
    const answer = await this.each('POST', options, o => ({ qs: pick(o, ['blocking', 'timeout']), body: this.payload(o) }))
    if (!options || !options.blocking || !options.result) return answer
    if (!answer.response) throw answer
    return answer.response.result
  }

  describe (o) {
    const [isCode, isSequence] = [Object.hasOwn(o, 'action'), Object.hasOwn(o, 'sequence')]
    if (!isCode && !isSequence && o.overwrite !== true) throw new Error('Missing mandatory action or sequence parameter from options.')
    if (isCode && isSequence) throw new Error('Invalid options parameters, contains both "action" and "sequence" parameters in options.')
    const isBytes = o.action instanceof Uint8Array
    if (isCode && typeof o.action === 'object' && !isBytes) return { ...o.action }
    const body = {}
    if (isCode) body.exec = { kind: o.kind || 'nodejs:default', code: isBytes ? Buffer.from(o.action).toString('base64') : o.action, ...o.exec }
    if (isSequence) {
      if (!Array.isArray(o.sequence)) throw new Error('Invalid sequence parameter from options. Must be an array.')
      if (!o.sequence.length) throw new Error('Invalid sequence parameter from options. Array must not be empty.')
      body.exec = { kind: 'sequence', components: o.sequence }
    }
    if (o.params && typeof o.params === 'object') body.parameters = pairs(o.params)
    return Object.assign(body, pick(o, ['version', 'limits']))
  }
}

class Triggers extends Resources {
  describe (o) { return { ...o.trigger } }
  async fire (options) { return this.invoke(options) }
}

class Packages extends Resources {
  describe (o) { return { ...o.package } }
  invoke () { throw new Error('Operation (invoke) not supported for package resource.') }
}

class Rules extends Resources {
  describe (o) {
    if (!Object.hasOwn(o, 'action')) throw new Error('Missing mandatory action parameter from options.')
    if (!Object.hasOwn(o, 'trigger')) throw new Error('Missing mandatory trigger parameter from options.')
    const whole = id => id.startsWith('/') ? id : `/${o.namespace || this.client.options.namespace || standard()}/${id}`
    return { action: whole(o.action), trigger: whole(o.trigger) }
  }

  invoke () { throw new Error('Operation (invoke) not supported for rule resource.') }
  async set (options, status) { return this.each('POST', options, () => ({ body: { status } })) }
  async enable (options) { return this.set(options, 'active') }
  async disable (options) { return this.set(options, 'inactive') }
}

class Activations extends Resources {
  async one (options, end = '') {
    const id = typeof options === 'string' ? options : options && (options.name || options.activation || options.activationId)
    if (!id) throw new Error('Missing mandatory activation parameter from options.')
    const o = typeof options === 'string' ? {} : options
    return this.client.request('GET', this.path(o, id) + end, { ...o, qs: undefined, body: undefined })
  }

  async get (options) { return this.one(options) }
  async logs (options) { return this.one(options, '/logs') }
  async result (options) { return this.one(options, '/result') }
}

class Namespaces {
  constructor (client) { this.client = client }

  async list () { return this.client.request('GET', 'namespaces') }

  async get () {
    const names = ['actions', 'packages', 'triggers', 'rules']
    const lists = await Promise.all(names.map(name => this.client.request('GET', 'namespaces/_/' + name)))
    return Object.fromEntries(names.map((name, i) => [name, lists[i]]))
  }
}

// Feeds are actions that are told what becomes of a trigger.
class Feeds {
  constructor (client, actions) { Object.assign(this, { client, actions }) }

  async feed (lifecycleEvent, options = {}) {
    const name = options.feedName || options.name
    if (!name) throw new Error('Missing mandatory feedName or id parameters from options.')
    if (!options.trigger) throw new Error('Missing mandatory trigger parameter from options.')
    const o = this.client.options
    const triggerName = options.trigger.startsWith('/') ? options.trigger : `/${o.namespace || standard()}/${options.trigger}`
    const params = { lifecycleEvent, authKey: o.apiKey, triggerName, ...options.params }
    return this.actions.invoke({ name, namespace: options.namespace, blocking: true, params })
  }

  async create (options) { return this.feed('CREATE', options) }
  async delete (options) { return this.feed('DELETE', options) }
  async get (options) { return this.feed('READ', options) }
  async update (options) { return this.feed('UPDATE', options) }
}

// Routes are those of the API gateway.
class Routes {
  constructor (client) { this.client = client }

  query (options, names) {
    const o = this.client.options
    return { ...pick(options, names), ...(o.apigwToken && { accesstoken: o.apigwToken, spaceguid: o.apigwSpaceGuid }) }
  }

  base (options) {
    if (options.name && options.basepath) throw new Error('Invalid parameters: use basepath or name, not both.')
    return options.basepath || options.name
  }

  async call (method, operation, qs, body) { return this.client.request(method, 'web/whisk.system/apimgmt/' + operation, { qs, body }) }

  async list (options = {}) {
    const basepath = this.base(options)
    return this.call('GET', 'getApi', this.query(basepath ? { ...options, basepath } : options, ['relpath', 'basepath', 'operation', 'limit', 'skip']))
  }

  async get (options = {}) {
    if (!this.base(options)) throw new Error('Missing mandatory parameters: basepath or name.')
    return this.list(pick(options, ['name', 'basepath']))
  }

  async delete (options = {}) {
    const basepath = this.base(options)
    if (!basepath) throw new Error('Missing mandatory parameters: basepath or name.')
    return this.call('DELETE', 'deleteApi', { ...this.query({ ...options, basepath }, ['relpath', 'basepath', 'operation']), force: true })
  }

  async create (options = {}) {
    const qs = this.query(options, ['responsetype'])
    if (options.swagger) return this.call('POST', 'createApi', qs, { apidoc: { namespace: '_', swagger: options.swagger } })
    const missing = ['relpath', 'operation', 'action'].filter(name => !Object.hasOwn(options, name))
    if (missing.length) throw new Error(`Missing mandatory parameters: ${missing.join(', ')}`)
    return this.call('POST', 'createApi', qs, { apidoc: this.describe(options) })
  }

  describe (options) {
    const { namespace = this.client.options.namespace || standard(), id } = split(options.action)
    const inPackage = id.includes('/') ? id : 'default/' + id
    const action = {
      name: id, namespace, backendMethod: 'GET', backendUrl: this.client.pathUrl(`web/${namespace}/${inPackage}.http`), authkey: this.client.options.apiKey
    }
    if (options.secure_key) action.secureKey = options.secure_key
    const base = options.basepath || '/'
    const doc = { namespace: '_', gatewayBasePath: base, gatewayPath: options.relpath, gatewayMethod: options.operation, id: `API:_:${base}`, action }
    const parameters = [...options.relpath.matchAll(/{([^}]+)}/g)].map(m => m[1])
    if (parameters.length) {
      doc.pathParameters = parameters.map(name => ({ name, in: 'path', description: `Default description for '${name}'`, required: true, type: 'string' }))
    }
    if (options.name) doc.apiName = options.name
    return doc
  }
}

module.exports = function openwhisk (options) {
  const client = new Client(options)
  const actions = new Actions(client, 'actions', 'actionName')
  return {
    actions,
    activations: new Activations(client, 'activations', 'activation', ['name', 'skip', 'limit', 'upto', 'docs', 'since', 'count']),
    namespaces: new Namespaces(client),
    packages: new Packages(client, 'packages', 'packageName', ['skip', 'limit', 'public', 'count']),
    rules: new Rules(client, 'rules', 'ruleName'),
    triggers: new Triggers(client, 'triggers', 'triggerName'),
    feeds: new Feeds(client, actions),
    routes: new Routes(client)
  }
}
module.exports.OpenWhiskError = OpenWhiskError
