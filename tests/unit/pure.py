"""For tests of the pure modules, which run under CPython and MicroPython alike: no pytest here."""


def raised(kind, call, *args):
    """What call(*args) raises, which must be a `kind`."""
    try:
        call(*args)
    except kind as error:
        return error
    raise AssertionError("%s did not raise %s" % (call, kind))
