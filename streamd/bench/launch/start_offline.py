"""faster-whisper on everything at once, when the sound is at its end. Arguments: port, model, language, threads."""

import socket
import sys

import numpy as np
from faster_whisper import WhisperModel
from lines import Transcript, serve_one, sound


def main(port: int, model: str, language: str, threads: int) -> None:
    whisper = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=threads)

    def handle(client: socket.socket) -> None:
        pcm = np.frombuffer(b"".join(sound(client, 1 << 20)), np.int16).astype(np.float32) / 32_768
        transcript = Transcript(client)
        for segment in whisper.transcribe(pcm, language=language, beam_size=5)[0]:
            transcript.final(segment.text)

    serve_one(port, handle)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
