// The native contract: export function main (event, context), or exports.main.
'use strict'
const fs = require('fs')

class HandlerNotFound extends Error {
  constructor (message) {
    super(message)
    this.name = 'HandlerNotFound'
  }
}

// locate finds the module's file; its extension may be left out.
function locate (module, root) {
  for (const end of ['', '.js', '.mjs', '.cjs', '/index.js', '/index.mjs', '/index.cjs']) {
    const file = `${root}/${module}${end}`
    if (fs.existsSync(file) && fs.statSync(file).isFile()) return file
  }
  throw new HandlerNotFound(`there is no module ${module}; the code has: ${fs.readdirSync(root).join(', ')}`)
}

// request is the event of an HTTP request: method, path, query, headers, body;
// a body that is not text is in base64.
function request (http, payload) {
  const text = payload.toString('utf8')
  http.isBase64Encoded = text.includes('\ufffd') && !Buffer.from(text).equals(payload)
  http.body = http.isBase64Encoded ? payload.toString('base64') : text
  return http
}

// typed is the event where the payload is not JSON: a string where it is text,
// else a Buffer.
function typed (payload, type) {
  const text = type.startsWith('text/') ? payload.toString('utf8') : null
  return text !== null && Buffer.from(text).equals(payload) ? text : Buffer.from(payload)
}

// event is what the function gets.
function event (payload, http, context) {
  if (http) return request(http, payload)
  if (context.contentType) return typed(payload, context.contentType)
  return payload.length ? JSON.parse(payload.utf8Slice()) : null
}

// tellsLost says that a call whose promise is lost fails with what is known of it.
exports.tellsLost = true

// load finds the function in the folder root.
exports.load = async function (start, load, root) {
  const dot = start.handler.lastIndexOf('.')
  if (dot < 1) throw new HandlerNotFound(`a handler is MODULE.FUNCTION, such as index.main, not "${start.handler}"`)
  const module = start.handler.slice(0, dot)
  const name = start.handler.slice(dot + 1)
  const found = await load(locate(module, root))
  let f = found[name]
  if (typeof f !== 'function' && found.default) {
    f = typeof found.default === 'function' && (name === 'main' || name === 'default') ? found.default : found.default[name]
  }
  if (typeof f !== 'function' && typeof found === 'function' && name === 'main') f = found
  if (typeof f !== 'function') {
    const names = Object.keys(found).filter(k => typeof found[k] === 'function')
    throw new HandlerNotFound(`${module} exports no function ${name}; it exports: ${names.join(', ') || 'none'}`)
  }
  return (payload, http, context) => f(event(payload, http, context), context)
}
