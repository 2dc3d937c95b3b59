// The barest Node worker: frames of JSON, length first, from one pipe to
// another. Started without a file it says so in a frame, and the first that
// it then gets names the file.
'use strict'
const fs = require('fs')

let buffer = Buffer.alloc(0)
const chunk = Buffer.allocUnsafe(65536)

function read () {
  while (buffer.length < 4 || buffer.length < 4 + buffer.readUInt32LE(0)) {
    const n = fs.readSync(0, chunk, 0, chunk.length, null)
    if (n === 0) process.exit(0)
    const got = Buffer.from(chunk.subarray(0, n))
    buffer = buffer.length ? Buffer.concat([buffer, got]) : got
  }
  const end = 4 + buffer.readUInt32LE(0)
  const frame = buffer.utf8Slice(4, end)
  buffer = buffer.subarray(end)
  return JSON.parse(frame)
}

function write (value) {
  const body = Buffer.from(JSON.stringify(value))
  const out = Buffer.allocUnsafe(4 + body.length)
  out.writeUInt32LE(body.length, 0)
  body.copy(out, 4)
  fs.writeSync(1, out)
}

let file = process.argv[2]
if (!file) {
  write('parked')
  file = read()
}
const { main } = require(file)
for (;;) write(main(read(), null))
