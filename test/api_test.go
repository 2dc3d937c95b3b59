package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// The users of the platform do what the event says: it is code.
const (
	pythonUser = `
import decimal, io, json, os, threading, rouse
from http.client import HTTPConnection
T, Q, S, B = rouse.table('seen'), rouse.queue('jobs'), rouse.stream('clicks'), rouse.bucket('photos')
def fails(f):
    try:
        f()
    except rouse.Error as e:
        return [e.kind, e.status]
def request(method, path, token=None, headers={}, body=None):
    c = HTTPConnection(os.environ['ROUSE_API'][7:])
    c.request(method, path, body, dict(headers, Authorization='Bearer ' + (token or os.environ['ROUSE_TOKEN'])))
    return c.getresponse().status
def main(event, context):
    names = dict(globals(), context=context)
    exec(event, names)
    return names.get('r')
`
	nodeUser = `
const rouse = require('rouse')
const { Readable } = require('stream')
const T = rouse.table('seen'), Q = rouse.queue('jobs'), S = rouse.stream('clicks'), B = rouse.bucket('photos')
const fails = async f => { try { await f() } catch (e) { return [e.kind, e.status] } }
const all = async it => { const l = []; for await (const v of it) l.push(v); return l }
exports.main = (event, context) =>
  new (Object.getPrototypeOf(async () => {}).constructor)('rouse', 'Readable', 'T', 'Q', 'S', 'B', 'fails', 'all', 'context', event)(
    rouse, Readable, T, Q, S, B, fails, all, context)
`
)

var everything = []string{"table:seen rw", "queue:jobs rw", "stream:clicks rw", "bucket:photos rw", "function:* w", "trigger:inbox w"}

// furnish makes what the users use.
func (s *server) furnish() {
	s.t.Helper()
	_, err := s.SetTable(s.t.Context(), "seen", wire.TableOptions{Key: data.Attribute{Name: "name"}, Sort: data.Attribute{Name: "n", Type: data.Number}})
	if err == nil {
		_, err = s.SetQueue(s.t.Context(), "jobs", wire.QueueOptions{})
	}
	if err == nil {
		_, err = s.SetStream(s.t.Context(), "clicks", wire.StreamOptions{})
	}
	if err == nil {
		_, err = s.SetBucket(s.t.Context(), "photos", wire.BucketOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) expect(function, code, want string) {
	s.t.Helper()
	a := s.call(function, code)
	if a.Status != rouse.StatusAnswered || string(a.Result) != want {
		s.t.Errorf("%s\nanswered %v %s %+v, not %s", code, a.Status, a.Result, a.Failure, want)
	}
}

func TestPythonUsesThePlatform(t *testing.T) {
	s := start(t, "")
	s.furnish()
	s.python("other", "def main(event):\n    if event == 'fail': raise KeyError('no')\n    return {'got': event}\n", wire.Options{})
	s.python("user", pythonUser, wire.Options{Allow: everything})
	for _, c := range []struct{ code, want string }{
		{"r = T.put({'name': 'a', 'n': 1, 'tags': {'x', 'y'}, 'raw': b'\\xff', 'price': decimal.Decimal('12.3400000000000000000000000000000001'), 'odd': {'$x': 1}, 'l': [1, 2.5, None, True]})", `null`},
		{"i = T.get({'name': 'a', 'n': 1}); r = [sorted(i['tags']), list(i['raw']), str(i['price']), i['odd'], i['l']]",
			`[["x","y"],[255],"12.3400000000000000000000000000000001",{"$x":1},[1,2.5,null,true]]`},
		{"i = T.get({'name': 'a', 'n': 1}); Q.send([i['price']]); m = Q.receive(1)[0]; Q.delete(m); r = [str(m.body[0]), rouse.invoke('other', {'p': i['price']})['got']['p'] == 12.34, S.append(i['price'], key='d')['sequence']]",
			`["12.3400000000000000000000000000000001",true,1]`},
		{"try: Q.send([object()])\nexcept TypeError as e: r = str(e)", `"Object of type object is not JSON serializable"`},
		{"r = T.get({'name': 'none', 'n': 1})", `null`},
		{"r = fails(lambda: T.put({'name': 'a', 'n': 1}, condition={'name': {'exists': False}}))", `["conflict",409]`},
		{"try: T.put({'name': 'a', 'n': 1}, condition={'raw': b'x'}, returns='old')\nexcept rouse.Error as e: r = e.items[0]['odd']", `{"$x":1}`},
		{"r = T.update({'name': 'a', 'n': 1}, {'add': {'views': 2}, 'remove': ['raw', 'price', 'tags']}, returns='new')['new']['views']", `2`},
		{"for n in range(2, 30): T.put({'name': 'a', 'n': n})\nr = [i['n'] for i in T.query('a', sort=('between', 3, 6), reverse=True)]", `[6,5,4,3]`},
		{"r = [len(list(T.scan())), len(list(T.query('a', limit=7))), len(list(T.scan(filter={'n': {'gt': 20}}, limit=3)))]", `[29,7,3]`},
		{"T.delete({'name': 'a', 'n': 1}); r = [i and i['n'] for i in T.get_many([{'name': 'a', 'n': 2}, {'name': 'a', 'n': 1}])]", `[2,null]`},
		{"r = [type(Q.send({'job': 1})).__name__, len(Q.send_many(['text', b'\\x00\\xff', [1]]))]", `["int",3]`},
		{"l = Q.receive(10, visibility=60, wait=1); r = [m.body if not isinstance(m.body, bytes) else list(m.body) for m in l] + Q.delete(l[1:]) + [Q.delete(l[0]), Q.delete(l[0].receipt)]",
			`[{"job":1},"text",[0,255],[1],true,true,true,true,false]`},
		{"p = S.append({'page': '/'}, key='u'); q = S.append([{'u': 'a'}, b'\\xff', 'x'], key=lambda e: 'k'); r = [p['sequence'], [x['sequence'] for x in q]]", `[2,[3,4,5]]`},
		{"B.put('a b/ü.txt', 'text', meta={'By': 'me'}); B.put('big', io.BytesIO(b'x' * 3000000)); r = [B.get('a b/ü.txt').decode(), len(B.get('big')), [o['key'] for o in B.list()]]",
			`["text",3000000,["a b/ü.txt","big"]]`},
		{"with B.open('big') as f: first = f.read(10)\nr = [first.decode(), sum(len(c) for c in B.open('big'))]", `["xxxxxxxxxx",3000000]`},
		{"B.delete('big'); r = fails(lambda: B.get('big'))", `["not found",404]`},
		{"r = rouse.invoke('other', {'a': 1})", `{"got":{"a":1}}`},
		{"r = fails(lambda: rouse.invoke('other', 'fail'))", `["failed",502]`},
		{"r = len(rouse.invoke('other', 1, asynchronous=True))", `32`},
		{"r = fails(lambda: rouse.emit('inbox', {'a': 1}, type='t'))", `["not found",404]`}, // it may, but there is no such trigger
		{"l = []\ndef f(): l.append(T.get({'name': 'a', 'n': 2})['n'])\nts = [threading.Thread(target=f) for _ in range(50)]\nfor t in ts: t.start()\nfor t in ts: t.join()\nr = len(l)", `50`},
		// Forgotten answers give their connections back.
		{"for _ in range(100): B.open('a b/ü.txt')\nr = B.get('a b/ü.txt').decode()", `"text"`},
	} {
		s.expect("user", c.code, c.want)
	}
}

func TestNodeUsesThePlatform(t *testing.T) {
	s := start(t, "")
	s.furnish()
	s.python("other", "def main(event):\n    if event == 'fail': raise KeyError('no')\n    return {'got': event}\n", wire.Options{})
	s.deploy("user", wire.Options{Allow: everything, Handler: "main.main"}, map[string]string{"main.js": nodeUser})
	for _, c := range []struct{ code, want string }{
		{"return [await T.put({ name: 'a', n: 1, tags: new Set(['x', 'y']), raw: Buffer.from([255]), big: 12345678901234567890123n, odd: { $x: 1 }, l: [1, 2.5, null, true] })] ", `[null]`},
		{"const i = await T.get({ name: 'a', n: 1 }); return [[...i.tags], [...i.raw], String(i.big), i.odd, i.l]", `[["x","y"],[255],"12345678901234567890123",{"$x":1},[1,2.5,null,true]]`},
		{"const d = text => new rouse.Decimal(text)\nawait T.put({ name: 'd', n: 1, a: d('12.3400000000000000000000000000000001'), b: d('0.10'), c: 0.1 + 0.2, e: d('-1e-100'), s: new Set([d('0.12345678901234567891'), 2]), t: '0.12345678901234567891', m: { $bigint: 'x' } })\n" +
			"const i = await T.get({ name: 'd', n: 1 }); await T.put(i); return [String(i.a), i.a * 2, i.b, i.c, i.e, [...i.s].map(String).sort(), i.t, i.m, JSON.stringify(await T.get({ name: 'd', n: 1 })) === JSON.stringify(i), String((await T.get({ name: 'd', n: 1 })).a)]",
			`["12.3400000000000000000000000000000001",24.68,0.1,0.30000000000000004,-1e-100,["0.12345678901234567891","2"],"0.12345678901234567891",{"$bigint":"x"},true,"12.3400000000000000000000000000000001"]`},
		// The place where a page ends is not rounded.
		{"const b = 'x'.repeat(300000); for (let i = 1; i < 9; i++) await T.put({ name: 'p', n: new rouse.Decimal('0.123456789012345678' + i), b })\nreturn (await all(T.query('p'))).map(i => String(i.n).slice(-1)).join('')", `"12345678"`},
		{"for (let i = 1; i < 9; i++) await T.delete({ name: 'p', n: new rouse.Decimal('0.123456789012345678' + i) }); await T.delete({ name: 'd', n: 1 })\ntry { new rouse.Decimal('1,5') } catch (e) { return e.message }", `"1,5 is no decimal number"`},
		{"return T.get({ name: 'none', n: 1 })", `null`},
		{"return fails(() => T.put({ name: 'a', n: 1 }, { condition: { name: { exists: false } } }))", `["conflict",409]`},
		{"try { await T.put({ name: 'a', n: 1 }, { condition: { raw: Buffer.from('x') }, returns: 'old' }) } catch (e) { return e.items[0].odd }", `{"$x":1}`},
		{"return (await T.update({ name: 'a', n: 1 }, { add: { views: 2 }, remove: ['raw', 'big', 'tags'] }, { returns: 'new' })).new.views", `2`},
		{"for (let n = 2; n < 30; n++) await T.put({ name: 'a', n }); return (await all(T.query('a', { sort: ['between', 3, 6], reverse: true }))).map(i => i.n)", `[6,5,4,3]`},
		{"return [(await all(T.scan())).length, (await all(T.query('a', { limit: 7 }))).length, (await all(T.scan({ filter: { n: { gt: 20 } }, limit: 3 }))).length]", `[29,7,3]`},
		{"await T.delete({ name: 'a', n: 1 }); return (await T.getMany([{ name: 'a', n: 2 }, { name: 'a', n: 1 }])).map(i => i && i.n)", `[2,null]`},
		{"return [typeof await Q.send({ job: 1 }), (await Q.sendMany(['text', Buffer.from([0, 255]), [1]])).length]", `["number",3]`},
		{"const l = await Q.receive(10, { visibility: 60, wait: 1 }); return [...l.map(m => Buffer.isBuffer(m.body) ? [...m.body] : m.body), ...await Q.delete(l.slice(1)), await Q.delete(l[0]), await Q.delete(l[0].receipt)]",
			`[{"job":1},"text",[0,255],[1],true,true,true,true,false]`},
		{"const p = await S.append({ page: '/' }, { key: 'u' }); const q = await S.append([{ u: 'a' }, Buffer.from([255]), 'x'], { key: e => 'k' }); return [p.sequence, q.map(x => x.sequence)]", `[1,[2,3,4]]`},
		{"await B.put('a b/ü.txt', 'text', { meta: { By: 'me' } }); await B.put('big', Readable.from([Buffer.alloc(3000000, 'x')])); return [String(await B.get('a b/ü.txt')), (await B.get('big')).length, (await all(B.list())).map(o => o.key)]",
			`["text",3000000,["a b/ü.txt","big"]]`},
		{"let n = 0; for await (const c of await B.open('big')) n += c.length; return n", `3000000`},
		{"await B.delete('big'); return fails(() => B.get('big'))", `["not found",404]`},
		{"return rouse.invoke('other', { a: 1 })", `{"got":{"a":1}}`},
		{"return fails(() => rouse.invoke('other', 'fail'))", `["failed",502]`},
		{"return (await rouse.invoke('other', 1, { asynchronous: true })).length", `32`},
		{"return fails(() => rouse.emit('inbox', { a: 1 }, { type: 't' }))", `["not found",404]`}, // it may, but there is no such trigger
		{"return (await Promise.all(Array.from({ length: 100 }, () => T.get({ name: 'a', n: 2 })))).length", `100`},
	} {
		s.expect("user", c.code, c.want)
	}
}

func TestAFunctionMayNoMoreThanItIsAllowed(t *testing.T) {
	s := start(t, "")
	s.furnish()
	if _, err := s.SetTable(t.Context(), "secret", wire.TableOptions{Key: data.Attribute{Name: "name"}}); err != nil {
		t.Fatal(err)
	}
	s.python("reader", pythonUser, wire.Options{Allow: []string{"table:se*  r", "queue:jobs w", "bucket:photos r"}})
	s.python("nobody", pythonUser, wire.Options{})
	denied := `["denied",403]`
	for _, c := range []struct{ code, want string }{
		{"r = T.get({'name': 'a', 'n': 1})", `null`},
		{"r = rouse.table('secret').get({'name': 'a'})", `null`},
		{"r = fails(lambda: rouse.table('other').get({'name': 'a'}))", denied},
		{"r = fails(lambda: T.put({'name': 'a', 'n': 1}))", denied},
		{"r = fails(lambda: T.update({'name': 'a', 'n': 1}, {'add': {'x': 1}}))", denied},
		{"r = fails(lambda: T.delete({'name': 'a', 'n': 1}))", denied},
		{"r = fails(lambda: Q.send(1))", `null`},
		{"r = fails(lambda: Q.receive())", denied},
		{"r = fails(lambda: S.append(1))", denied},
		{"r = fails(lambda: B.put('k', 'x'))", denied},
		{"r = fails(lambda: B.get('k'))", `["not found",404]`},
		{"r = fails(lambda: rouse.invoke('nobody'))", denied},
		{"r = fails(lambda: rouse.emit('inbox'))", denied},
		// What is the operator's stays so, whatever the way there.
		{"r = [request(m, p) for m, p in (('GET', '/v1/node'), ('GET', '/v1/tables'), ('DELETE', '/v1/tables/seen'), ('PUT', '/v1/tables/seen'), ('POST', '/v1/transact')," +
			" ('GET', '/v1/functions/nobody'), ('GET', '/fn/nobody'), ('GET', '/metrics'), ('POST', '/v1/queues/jobs/purge'), ('POST', '/v1/buckets/photos/copy'), ('GET', '//v1/node'))]",
			`[403,403,403,403,403,403,403,403,403,403,403]`},
		{"r = [request('POST', p, body='{}') for p in ('/v1/tables/seen/../../queues/jobs/receive', '/v1/tables/seen/get/../put', '/v1/tables/seen%2Fput/get', '/v1/tables/%73een/put', '/v1/tables/seen/get/', '/v1/tables//seen/get', '/V1/tables/seen/get')]",
			`[403,403,403,403,403,403,403]`},
		{"r = [request('GET', '/v1/buckets/photos/objects/' + k) for k in ('../../../queues/jobs', '..%2F..%2Fsecret', '%00')]", `[404,404,404]`},
		// Of another namespace there is nothing.
		{"r = [request('POST', '/v1/tables/seen/get?' + q, body='{\"key\":{\"name\":\"a\",\"n\":1}}') for q in ('namespace=other', 'namespace=default&namespace=other', 'namespace=other&namespace=default', 'namespace=default', '')]",
			`[403,403,403,200,200]`},
		// A token is that of one instance, at its own door.
		{"r = [request('GET', '/v1/tables/seen', token=t) for t in ('x', 'rouse_' + 43 * 'A', os.environ['ROUSE_TOKEN'][:-1], os.environ['ROUSE_TOKEN'])]", `[401,401,401,200]`},
	} {
		s.expect("reader", c.code, c.want)
	}
	s.expect("nobody", "r = [fails(lambda: T.get({'name': 'a', 'n': 1})), [k for k in os.environ if k in ('ROUSE_API', 'ROUSE_TOKEN')]]", `[["denied",0],[]]`)

	// Neither another instance's token nor the operator's opens the door, and
	// from outside an instance's is nothing.
	s.python("second", pythonUser, wire.Options{Allow: everything})
	var token string
	if a := s.call("second", "r = os.environ['ROUSE_TOKEN']"); a.Status != rouse.StatusAnswered {
		t.Fatalf("%+v", a)
	} else {
		token = strings.Trim(string(a.Result), `"`)
	}
	s.expect("reader", fmt.Sprintf("r = [request('GET', '/v1/tables/seen', token=t) for t in (%q, %q)]", token, s.token), `[401,401]`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/v1/tables/seen", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _ = answer.Body.Close(); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("from outside an instance's token is answered with %d", answer.StatusCode)
	}
	for allow, says := range map[string]string{"table:seen": "what may be done", "lake:seen r": "bucket, function"} {
		if _, err := s.tryDeploy("bad", wire.Options{Allow: []string{allow}}, map[string]string{"main.py": "def main(): pass"}); rouse.KindOf(err) != rouse.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", allow, err)
		}
	}
}

func TestWhatFunctionsCallNamesItsCause(t *testing.T) {
	s := start(t, "")
	s.python("last", "def main(event): return event\n", wire.Options{})
	s.python("first", "import rouse\ndef main(event): return [rouse.invoke('last', 1), rouse.invoke('last', 2, asynchronous=True)]\n", wire.Options{Allow: []string{"function:last w"}})
	a := s.call("first", nil)
	if a.Status != rouse.StatusAnswered {
		t.Fatalf("%+v", a)
	}
	eventually(t, "both calls are recorded with their cause", func() bool {
		as, _, err := s.Activations(t.Context(), rouse.ActivationQuery{Namespace: "default", Function: "last"})
		if err != nil || len(as) != 2 {
			return false
		}
		for _, b := range as {
			if b.Status != rouse.StatusPending && (b.Cause != a.ID || b.Hops != 1) {
				t.Fatalf("%+v", b)
			}
		}
		return as[0].Status == rouse.StatusAnswered && as[1].Status == rouse.StatusAnswered
	})
	// One that calls itself comes to an end.
	s.python("loop", "import rouse\ndef main(event):\n    try:\n        return rouse.invoke('loop', event + 1)\n    except rouse.Error as e:\n        return [event, e.kind]\n",
		wire.Options{Allow: []string{"function:loop w"}})
	if a := s.call("loop", 0); string(a.Result) != `[15,"throttled"]` {
		t.Errorf("%+v %s", a, a.Result)
	}
}

// A function that does its worst at its door harms itself alone.
func TestAHostileFunctionAtItsDoor(t *testing.T) {
	s := start(t, "")
	s.furnish()
	o := wire.Options{Allow: []string{"table:seen rw"}, Limits: rouse.Limits{Timeout: rouse.Duration(time.Minute)}}
	s.python("good", pythonUser, o)
	s.python("evil", pythonUser+`
import socket, random
def raw(data, wait=True):
    s = socket.create_connection(('127.0.0.1', 8700), 5)
    s.sendall(data)
    if wait:
        s.settimeout(20)
        return s.recv(12)[9:].decode()
    return s
`, o)
	for what, c := range map[string]struct{ code, want string }{
		"garbage":        {"r = [raw(bytes(random.randrange(256) for _ in range(200)) + b'\\r\\n\\r\\n') for _ in range(50)] == ['400'] * 50", `true`},
		"large headers":  {"r = raw(b'GET / HTTP/1.1\\r\\nHost: x\\r\\nX: ' + b'x' * 100000 + b'\\r\\n\\r\\n')", `"431"`},
		"smuggled":       {"r = raw(b'POST /v1/tables/seen/get HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 5\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\nGET')", `"401"`},
		"stalled bodies": {"import sys; sys.l = [raw(('POST /v1/tables/seen/put HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer %s\\r\\nContent-Length: 33000000\\r\\n\\r\\n' % os.environ['ROUSE_TOKEN']).encode() + b'x' * 100000, False) for _ in range(60)]; r = 1", `1`},
	} {
		s.expect("evil", c.code, c.want)
		s.expect("good", "T.put({'name': 'x', 'n': 1}); r = T.get({'name': 'x', 'n': 1})['n']", `1`)
		if t.Failed() {
			t.Fatalf("at %s", what)
		}
	}
	s.expect("evil", "import sys\nfor c in sys.l: c.close()\nr = fails(lambda: T.get({'name': 'x', 'n': 1}))", `null`)
}
