import { createHmac, timingSafeEqual } from 'node:crypto'

// main gets the whole request, and says with status and headers how to answer.
export function main (request) {
  const expected = 'sha256=' + createHmac('sha256', process.env.SECRET).update(request.body).digest('hex')
  const given = request.headers['x-hub-signature-256'] ?? ''
  if (given.length !== expected.length || !timingSafeEqual(Buffer.from(given), Buffer.from(expected))) {
    return { status: 401, body: 'the signature is not ours\n' }
  }
  const { action } = JSON.parse(request.body)
  return { status: 202, headers: { 'Content-Type': 'application/json', 'X-Action': action }, body: { took: action } }
}
