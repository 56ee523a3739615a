"""The runner under MicroPython: every test_ function of the modules that are named."""

import sys


def main():
    passed = failed = 0
    for name in sys.argv[1:]:
        module = __import__(name, None, None, ("*",))
        for test in sorted(dir(module)):
            if not test.startswith("test_"):
                continue
            try:
                getattr(module, test)()
                passed += 1
            except Exception as error:
                failed += 1
                print(name, test)
                sys.print_exception(error)
    print("%d passed, %d failed" % (passed, failed))


main()
