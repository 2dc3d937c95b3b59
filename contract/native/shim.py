"""The native contract: def main(event, context), both optional."""
import base64
import importlib
import inspect
import os
import sys
import types

import worker

VARIABLE, COROUTINE = 0x4, 0x80  # of co_flags, as inspect names them


class HandlerNotFound(Exception):
    """The handler does not name a function of the code."""
    __module__ = 'builtins'  # whose the class is tells nobody more


def resolve(handler):
    module, _, name = handler.rpartition('.')
    if not module:
        raise HandlerNotFound('a handler is MODULE.FUNCTION, such as main.main, not %r' % handler)
    file = os.path.abspath(module + '.py')
    if os.path.exists(file) and (module in sys.modules or module in getattr(sys, 'stdlib_module_names', ())):
        found = named_alike(module, file)
    else:
        found = importlib.import_module(module.replace('/', '.'))
    function = getattr(found, name, None)
    if not callable(function):
        names = [n for n, v in vars(found).items() if inspect.isfunction(v) and not n.startswith('_')]
        raise HandlerNotFound('%s has no function %s; it has: %s' % (module, name, ', '.join(names) or 'none'))
    return function


def named_alike(module, file):
    """Loads a handler's file that is named like a module of others, who go on
    finding theirs."""
    name = 'fn_' + module
    if sys.version_info[0] == 2:
        import imp
        return imp.load_source(name, file)
    import importlib.util
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def plain(function):
    """The code of a function that says by it alone what it takes, as most do: to
    ask inspect makes objects by the hundred, in pages that each instance would
    then have of its own."""
    if type(function) is types.FunctionType and not function.__dict__:
        return function.__code__


def arity(function):
    """How many of event and context the function takes."""
    code = plain(function)
    if code is not None:
        return 2 if code.co_flags & VARIABLE else min(2, code.co_argcount)
    try:
        parameters = inspect.signature(function).parameters.values()
    except AttributeError:  # Python 2.7
        return len(inspect.getargspec(function).args)
    except (TypeError, ValueError):
        return 2
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return 2
    return min(2, len(positional))


def request(http, payload):
    """The event of an HTTP request: method, path, query, headers, body; a body
    that is not text is in base64."""
    try:
        http['body'] = payload.decode('utf-8')
        http['isBase64Encoded'] = False
    except UnicodeDecodeError:
        http['body'] = base64.b64encode(payload).decode('ascii')
        http['isBase64Encoded'] = True
    return http


def typed(payload, content_type):
    """The event where the payload is not JSON: a str where it is text, else bytes."""
    if content_type.startswith('text/'):
        try:
            return payload.decode('utf-8')
        except UnicodeDecodeError:
            pass
    return payload


def load(start):
    function = resolve(start['handler'])
    takes = arity(function)

    def handle(payload, http, context):
        if http is not None:
            event = request(http, payload)
        elif context.content_type:
            event = typed(payload, context.content_type)
        else:
            event = worker.loads(payload.decode('utf-8')) if payload else None
        if takes == 2:
            return function(event, context)
        return function(event) if takes else function()

    code = plain(function)
    if code is not None:
        handle.is_async = bool(code.co_flags & COROUTINE)
    else:
        handle.is_async = getattr(inspect, 'iscoroutinefunction', lambda f: False)(function)
    return handle
