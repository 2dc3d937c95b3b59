"""Use the platform from inside a function.

    import rouse
    seen = rouse.table('seen')
    seen.put({'name': 'a.jpg', 'size': 12}, condition={'name': {'exists': False}})
    seen.get({'name': 'a.jpg'})                       # the item, or None
    seen.update({'name': 'a.jpg'}, {'add': {'views': 1}})
    for item in seen.query('a.jpg'): ...
    rouse.queue('jobs').send({'any': 'JSON'}, delay=10)
    for m in rouse.queue('jobs').receive(10, wait=5): ...
    rouse.stream('clicks').append({'page': '/'}, key='user-7')
    rouse.bucket('photos').put('a.jpg', data, content_type='image/jpeg')
    with rouse.bucket('photos').open('a.jpg') as f: f.read()
    rouse.invoke('resize', {'photo': 'a.jpg'})        # its result
    rouse.emit('inbox', {'any': 'JSON'}, type='photo.added')

A function may use what it was deployed with as "allow", such as
"table:seen rw", "queue:jobs w", "function:resize w", and nothing else; a call
that it may not make raises an Error whose kind is "denied". Times are numbers
of seconds, or text such as "90s". All may be used from several threads.

This file is for Python 2.7 as well as 3.
"""
import base64
import decimal
import json
import os
import select
import threading
import time
import uuid
try:
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import quote, urlencode, urlsplit
    TEXT, BINARY, INTEGERS = (str,), (bytes, bytearray, memoryview), (int,)
except ImportError:  # Python 2.7, where str is taken for text
    from httplib import HTTPConnection, HTTPException
    from urllib import quote, urlencode
    from urlparse import urlsplit
    TEXT, BINARY, INTEGERS = (str, type(u'')), (bytearray, memoryview), (int, type(1 << 64))

__all__ = ['Error', 'Message', 'bucket', 'emit', 'invoke', 'queue', 'stream', 'table']

CONNECTIONS = 32  # at once; more calls wait for each other
FRESH = 20  # seconds after which the platform may have closed an unused connection
clock = getattr(time, 'monotonic', time.time)


class Error(Exception):
    """What the platform refused, or how a function that was invoked failed.

    kind is a word such as "denied", "not found", "conflict" or "throttled", or
    of a function "failed", "timed out" and so on; status is that of HTTP, 0
    where the platform was not reached. items are those, as they are, whose
    condition did not hold, where the call asks for items with returns.
    """

    def __init__(self, kind, message, status=0, items=()):
        Exception.__init__(self, '%s: %s' % (kind, message))
        self.kind, self.message, self.status, self.items = kind, message, status, list(items)


# Values.

def number(text):
    """A float where it is exactly the number, else a Decimal."""
    f = float(text)
    d = decimal.Decimal(text)
    return f if f - f == 0 and decimal.Decimal(repr(f)) == d else d


def read_json(text):
    if isinstance(text, bytes):
        text = text.decode('utf-8')
    return json.loads(text, parse_float=number)


def typed(value):
    """Makes of {"$binary": ...} and its like what Python has for it."""
    if isinstance(value, list):
        return [typed(v) for v in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (name, inner), = value.items()
        if name == '$binary':
            return base64.b64decode(inner)
        if name in ('$strings', '$numbers'):
            return set(inner)
        if name == '$binaries':
            return set(base64.b64decode(v) for v in inner)
        if name == '$map':
            return read_item(inner)
    return read_item(value)


def read_item(members):
    return None if members is None else dict((k, typed(v)) for k, v in members.items())


def base64_of(data):
    return base64.b64encode(bytes(data)).decode('ascii')


def write(value, wrap=False):
    """Writes a value as JSON: bytes, sets and Decimals too. With wrap, a dict
    is data even where it looks like {"$binary": ...}."""
    if isinstance(value, BINARY):
        return '{"$binary":"%s"}' % base64_of(value)
    if isinstance(value, dict):
        for k in value:
            if not isinstance(k, TEXT):
                raise TypeError('a name in a dict must be a str, not %r' % (k,))
        text = '{%s}' % ','.join(json.dumps(k) + ':' + write(v, wrap) for k, v in value.items())
        if wrap and len(value) == 1 and next(iter(value)).startswith('$'):
            text = '{"$map":%s}' % text
        return text
    if isinstance(value, (list, tuple)):
        return '[%s]' % ','.join(write(v, wrap) for v in value)
    if isinstance(value, (set, frozenset)):
        if all(isinstance(v, TEXT) for v in value):
            return '{"$strings":[%s]}' % ','.join(json.dumps(v) for v in sorted(value))
        if all(isinstance(v, BINARY) for v in value):
            return '{"$binaries":[%s]}' % ','.join(json.dumps(base64_of(v)) for v in sorted(value))
        return '{"$numbers":[%s]}' % ','.join(write(v) for v in sorted(value))
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise ValueError('%s is no number that can be stored' % value)
        return str(value)
    return json.dumps(value, allow_nan=False)


def dumps(value):
    """Writes data as JSON, Decimals as the numbers they are: what was read from a
    table may go elsewhere."""
    try:
        return json.dumps(value)
    except TypeError:
        if isinstance(value, dict) and all(isinstance(k, TEXT) for k in value):
            return '{%s}' % ','.join(json.dumps(k) + ':' + dumps(v) for k, v in value.items())
        if isinstance(value, (list, tuple)):
            return '[%s]' % ','.join(dumps(v) for v in value)
        if isinstance(value, decimal.Decimal) and value.is_finite():
            return str(value)
        raise


def item(value):
    """Writes an item, or a key."""
    if not isinstance(value, dict):
        raise TypeError('an item and a key are a dict such as {"name": "a"}, not %r' % (value,))
    return '{%s}' % ','.join(json.dumps(k) + ':' + write(v, True) for k, v in value.items())


def span(seconds):
    return seconds if isinstance(seconds, TEXT) else float(seconds) * 1000


def content(name, value):
    """The member of a message or record that carries value."""
    if isinstance(value, BINARY):
        return {name + 'Base64': base64_of(value)}
    return {name: value}


def carried(name, got):
    if got.get(name + 'Base64') is not None:
        return base64.b64decode(got[name + 'Base64'])
    return got.get(name)


# The connections to the platform.

def quiet(connection):
    """Says whether a connection can be used again: one with something to read
    has been closed by the platform."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)


class Connections(object):
    """Those that are open. The lock can be taken again by the thread that has
    it: an answer that is forgotten ends wherever that thread is."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.free = []
        self.used = 0
        self.process = os.getpid()

    def take(self, host):
        with self.changed:
            while self.used >= CONNECTIONS:
                self.changed.wait()
            self.used += 1
            while self.free:
                c, since = self.free.pop()
                if clock() - since < FRESH and quiet(c):
                    return c
                c.close()
        return HTTPConnection(host)

    def give(self, c):
        with self.changed:
            self.free.append((c, clock()))
            self.used -= 1
            self.changed.notify()

    def drop(self, c):
        c.close()
        with self.changed:
            self.used -= 1
            self.changed.notify()


connections = Connections()
renewing = threading.Lock()


def ours():
    """The connections of this process: a fork must not use its parent's."""
    global connections
    if connections.process != os.getpid():
        with renewing:
            if connections.process != os.getpid():
                connections = Connections()
    return connections


class Response(object):
    """An answer, whose body is read like a file. Read to its end or closed, it
    gives its connection back."""

    def __init__(self, pool, connection, response):
        self.pool, self.connection, self.response = pool, connection, response
        self.status, self.headers = response.status, response.msg

    def read(self, size=None):
        if self.connection is None:
            return b''
        try:
            data = self.response.read() if size is None or size < 0 else self.response.read(size)
        except BaseException as e:
            self.end(False)
            if isinstance(e, (HTTPException, EnvironmentError)):
                raise Error('unavailable', 'the platform ended its answer too early: %s' % e)
            raise
        if size is None or size < 0 or (not data and size > 0):
            self.end(not self.response.will_close)
        return data

    def end(self, whole):
        connection, self.connection = self.connection, None
        if connection is not None:
            if whole:
                self.pool.give(connection)
            else:
                self.pool.drop(connection)

    def close(self):
        self.end(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()

    def __iter__(self):
        while True:
            data = self.read(1 << 16)
            if not data:
                return
            yield data


def ask(method, path, body=None, query=None, headers=None):
    """Sends one request and returns the Response; raises an Error where that
    is one."""
    api, token = os.environ.get('ROUSE_API'), os.environ.get('ROUSE_TOKEN')
    if not api or not token:
        raise Error('denied', 'this function may not use the platform; deploy it with what it needs as "allow", such as "table:seen rw"')
    send = {'Authorization': 'Bearer ' + token}
    if headers:
        send.update(headers)
    if query:
        path += '?' + urlencode(sorted((k, v) for k, v in query.items() if v is not None))
    pool = ours()
    connection = pool.take(urlsplit(api).netloc)
    try:
        connection.request(method, path, body, send)
        response = connection.getresponse()
    except BaseException as e:
        pool.drop(connection)
        if isinstance(e, (HTTPException, EnvironmentError)):
            raise Error('unavailable', 'the platform does not answer: %s' % e)
        raise
    r = Response(pool, connection, response)
    if r.status >= 400:
        raise refusal(r)
    return r


def refusal(r):
    body = r.read()
    try:
        said = read_json(body)
        error = said['error']
        message = error.get('message', '')
        if error.get('type'):
            message = '%s: %s' % (error['type'], message)
        return Error(error.get('kind', 'internal'), message, r.status, [read_item(w.get('item')) for w in said.get('refused') or ()])
    except (ValueError, KeyError, TypeError, AttributeError):
        return Error({403: 'denied', 404: 'not found'}.get(r.status, 'internal'), 'the platform answered with status %d' % r.status, r.status)


def post(path, body):
    return ask('POST', path, body.encode('utf-8'), headers={'Content-Type': 'application/json'}).read()


def members(**given):
    """JSON of an object without what is None; the values are JSON already."""
    return '{%s}' % ','.join('"%s":%s' % (k.rstrip('_'), v) for k, v in sorted(given.items()) if v is not None)


def maybe(f, value):
    return None if value is None else f(value)


class Thing(object):
    """One table, queue, stream or bucket. Making it asks for nothing."""
    service = None

    def __init__(self, name):
        self.name = name
        self.path = '/v1/%s/%s/' % (self.service, quote(name, safe=''))


class Table(Thing):
    """Items are dicts; numbers are int, float or decimal.Decimal, exact to 38
    digits; bytes and sets of str, numbers or bytes are kept as they are."""
    service = 'tables'

    def get(self, key):
        """The item of a key, which is a dict; None where there is none."""
        return read_item(read_json(post(self.path + 'get', members(key=item(key))))['item'])

    def get_many(self, keys):
        """The items of several keys at one moment, in order, None where there is none."""
        got = read_json(post(self.path + 'get', members(keys='[%s]' % ','.join(item(k) for k in keys))))
        return [read_item(i) for i in got['items']]

    def put(self, value, condition=None, returns=None):
        """Stores an item, and replaces the one of its key. An Error of kind
        "conflict" says that the condition, such as {"size": {"lt": 5}} or
        {"name": {"exists": False}}, does not hold. Where returns is "old", "new"
        or "both", the result is {"old": item, "new": item}."""
        return self.change('put', condition, returns, item=item(value))

    def update(self, key, edits, condition=None, returns=None):
        """Changes attributes of an item, and makes it where there is none. Edits
        are {"set": {path: value}, "remove": [path], "add": {path: number or set},
        "delete": {path: set}}, each of which may be missing; a value may be
        {"$path": "other"} and so on."""
        return self.change('update', condition, returns, key=item(key), edits=write(edits))

    def delete(self, key, condition=None, returns=None):
        """Removes an item, if there is one."""
        return self.change('delete', condition, returns, key=item(key))

    def change(self, what, condition, returns, **given):
        got = post(self.path + what, members(if_=maybe(write, condition), return_=maybe(json.dumps, returns), **given))
        return dict((k, read_item(v)) for k, v in read_json(got).items()) if got and returns else None

    def query(self, key, sort=None, index=None, reverse=False, filter=None, attributes=None, limit=None):
        """Iterates over the items of one partition, whose key is a value, in the
        order of their sort attribute. Sort picks some of them: ("begins", "x"),
        ("ge", 5), ("between", 1, 9) and so on. Limit is how many come at most."""
        if sort is not None:
            sort = '{"op":%s,"values":%s}' % (json.dumps(sort[0]), write(sort[1:], True))
        return self.pages('query', filter, attributes, limit, key=write(key, True), sort=sort, index=maybe(json.dumps, index),
                          reverse='true' if reverse else None)

    def scan(self, filter=None, index=None, attributes=None, segment=None, segments=None, limit=None):
        """Iterates over all items, or over those of one of several segments that
        can be scanned at the same time."""
        return self.pages('scan', filter, attributes, limit, index=maybe(json.dumps, index), segment=maybe(json.dumps, segment),
                          segments=maybe(json.dumps, segments))

    def pages(self, what, filter, attributes, limit, **given):
        given.update(filter=maybe(write, filter), attributes=maybe(write, attributes))
        after = None
        while limit is None or limit > 0:
            # A filter is asked of the items that were looked at, which limit counts.
            size = None if limit is None or filter is not None else json.dumps(limit)
            page = read_json(post(self.path + what, members(after=after, limit=size, **given)))
            for found in page['items'] if limit is None else page['items'][:limit]:
                yield read_item(found)
            if page.get('after') is None:
                return
            after = item(read_item(page['after']))
            if limit is not None:
                limit -= len(page['items'])


class Message(object):
    """A message that was received. Body is what was sent; text that is JSON
    comes as its value."""

    def __init__(self, got):
        self.id, self.receipt, self.count = got.get('id'), got.get('receipt'), got.get('count')
        self.body, self.attributes = carried('body', got), got.get('attributes') or {}
        self.group, self.sent = got.get('group'), got.get('sent')

    def __repr__(self):
        return 'Message(id=%r, body=%r)' % (self.id, self.body)


def receipt(m):
    return m.receipt if isinstance(m, Message) else m


class Queue(Thing):
    service = 'queues'

    def send(self, body, delay=None, ttl=None, attributes=None, group=None, dedup=None):
        """Sends a message, any JSON value, text or bytes, and returns its id."""
        return self.send_many([body], delay, ttl, attributes, group, dedup)[0]

    def send_many(self, bodies, delay=None, ttl=None, attributes=None, group=None, dedup=None):
        """Sends messages together, all or none, and returns their ids."""
        more = dict(delay=maybe(span, delay), ttl=maybe(span, ttl), attributes=attributes, group=group, dedup=dedup)
        more = dict((k, v) for k, v in more.items() if v is not None)
        sent = post(self.path + 'messages', dumps({'messages': [dict(more, **content('body', b)) for b in bodies]}))
        return [m['id'] for m in read_json(sent)['messages']]

    def receive(self, n=1, visibility=None, wait=0):
        """Receives up to n Messages, which others don't see for the time
        visibility, and waits for a first one."""
        asked = dict(max=n, wait=span(wait))
        if visibility is not None:
            asked['visibility'] = span(visibility)
        return [Message(m) for m in read_json(post(self.path + 'receive', json.dumps(asked)))['messages']]

    def delete(self, messages):
        """Deletes received Messages, or those of receipts: one or a list. Says of
        each whether it was still there for us to delete."""
        many = isinstance(messages, (list, tuple))
        got = post(self.path + 'delete', json.dumps({'receipts': [receipt(m) for m in (messages if many else [messages])]}))
        deleted = read_json(got)['deleted']
        return deleted if many else deleted[0]

    def extend(self, message, visibility):
        """Makes a received Message visible after another time, 0 at once. Returns
        the new receipt."""
        got = post(self.path + 'extend', json.dumps({'receipt': receipt(message), 'visibility': span(visibility)}))
        new = read_json(got)['receipt']
        if isinstance(message, Message):
            message.receipt = new
        return new


class Stream(Thing):
    service = 'streams'

    def append(self, records, key=None):
        """Appends a record, any JSON value, text or bytes; a list is several,
        all or none. Records of one key stay in order: key is text, or a function
        that makes it of a record; without one they are spread. Returns the
        position of each, {"shard", "sequence"}, in a list where a list was given."""
        many = isinstance(records, list)
        if not many:
            records = [records]
        body = []
        for r in records:
            k = uuid.uuid4().hex if key is None else key(r) if callable(key) else key
            body.append(dict(content('data', r), key=k))
        got = read_json(post(self.path + 'records', dumps({'records': body})))['positions']
        return got if many else got[0]


class Bucket(Thing):
    service = 'buckets'

    def at(self, key):
        if not isinstance(key, TEXT) or not key:
            raise TypeError('a key is text, not %r' % (key,))
        if not isinstance(key, str):  # Python 2.7
            key = key.encode('utf-8')
        return self.path + 'objects/' + quote(key, safe='/')

    def put(self, key, data, content_type=None, meta=None):
        """Stores an object: bytes, text, or what can be read like a file."""
        if isinstance(data, TEXT) and not isinstance(data, bytes):
            data, content_type = data.encode('utf-8'), content_type or 'text/plain; charset=utf-8'
        elif isinstance(data, (bytearray, memoryview)):
            data = bytes(data)
        headers = {'Content-Type': content_type or 'application/octet-stream'}
        for k, v in (meta or {}).items():
            headers['Rouse-Meta-' + k] = v
        got = ask('PUT', self.at(key), data, headers=headers).read()
        return read_json(got) if got else None

    def get(self, key):
        """The bytes of an object. An Error of kind "not found" says that there is none."""
        with self.open(key) as r:
            return r.read()

    def open(self, key):
        """An object to be read like a file, piece by piece; it has headers. Close
        it: no more than 32 can be open at once."""
        return ask('GET', self.at(key))

    def delete(self, key):
        """Removes an object, if there is one."""
        ask('DELETE', self.at(key)).read()

    def list(self, prefix=''):
        """Iterates over the objects whose key begins with prefix, by key: dicts
        with "key", "size", "etag" and so on."""
        after = None
        while True:
            page = read_json(ask('GET', self.path + 'objects', query={'prefix': prefix or None, 'after': after}).read())
            for o in page.get('objects') or ():
                yield o
            after = page.get('next')
            if not after:
                return


def table(name):
    """A Table."""
    return Table(name)


def queue(name):
    """A Queue."""
    return Queue(name)


def stream(name):
    """A Stream."""
    return Stream(name)


def bucket(name):
    """A Bucket."""
    return Bucket(name)


def invoke(function, event=None, asynchronous=False, qualifier=None):
    """Runs a function on an event, any JSON value, and returns its result; an
    Error says how it failed. Asynchronous, it runs later, and the result is the
    id of its activation."""
    query = {'async': 'true' if asynchronous else None, 'qualifier': qualifier}
    r = ask('POST', '/v1/functions/%s/invoke' % quote(function, safe=''), dumps(event).encode('utf-8'), query,
            {'Content-Type': 'application/json'})
    kind, body = r.headers.get('Content-Type') or '', r.read()
    if kind.startswith('application/json'):
        body = read_json(body) if body else None
        return body['activation'] if asynchronous else body
    return body.decode('utf-8') if kind.startswith('text/') else body


def emit(trigger, data=None, type=None, subject=None, id=None, attributes=None):
    """Makes an event as if the trigger had, and returns its id. An event of the
    same id is made once."""
    event = dict(content('data', data), type=type, subject=subject, id=id, attributes=attributes)
    if isinstance(data, BINARY):
        event['contentType'] = 'application/octet-stream'
    event = dict((k, v) for k, v in event.items() if v is not None)
    return read_json(post('/v1/triggers/%s/fire' % quote(trigger, safe=''), dumps({'events': [event]})))['ids'][0]
