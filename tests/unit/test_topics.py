"""camera.topics, on both interpreters."""

from camera import topics


def test_ids():
    for good in ("a", "cam1", "A_b-9", "x" * 32):
        assert topics.is_id(good), good
    for bad in ("", "x" * 33, "a/b", "a b", "+", "#", "é", "a\0", "../a", None, 5, b"a"):
        assert not topics.is_id(bad), bad


def test_topic_and_back():
    name = topics.topic("site/cameras", "cam1", topics.CMD_RESULT)
    assert name == "site/cameras/cam1/cmd/result"
    assert topics.split("site/cameras", name) == ("cam1", topics.CMD_RESULT)


def test_topics_of_others():
    for name in ("", "cameras", "cameras/", "cameras/cam1", "cameras//jpeg", "cameras/a b/jpeg"):
        assert topics.split("cameras", name) is None, name
    assert topics.split("cameras", "camerasx/cam1/jpeg") is None
