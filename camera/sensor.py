"""The image sensor: a JPEG in the frame buffer, reset by itself when it stops giving frames."""

import csi

from camera.errors import CameraError

# As in the firmware's examples.
SETTLE_MS = 2000


class Sensor:
    """framesize: a name of settings.FRAMESIZES; quality: JPEG quality, 1 to 100."""

    def __init__(self, framesize, quality):
        self._framesize = getattr(csi, framesize)
        self.quality = quality
        self._csi = None
        self.errors = 0

    def capture(self):
        """The next frame as JPEG: a buffer that the capture after it overwrites.

        Raises CameraError("camera"); the sensor is then set up afresh by the next call.
        """
        try:
            if self._csi is None:
                self._csi = csi.CSI()
                self._csi.reset()
                self._csi.pixformat(csi.RGB565)
                self._csi.framesize(self._framesize)
                # The first frames are dark and green, until exposure and white balance settle.
                self._csi.snapshot(time=SETTLE_MS)
            # RuntimeError: the frame did not come in time; MemoryError: no room in the pool
            # of frame buffers, which is not the heap. to_jpeg() works in place.
            image = self._csi.snapshot()
            image.to_jpeg(quality=self.quality)
            return image.bytearray()
        except (RuntimeError, OSError, ValueError, MemoryError) as error:
            self._csi = None
            self.errors += 1
            raise CameraError("camera", repr(error))
