"""RealtimeSTT's recorder, fed from a socket instead of a microphone. Arguments: port, folder of the model, language."""

import socket
import sys
import threading

from lines import Transcript, serve_one, sound
from RealtimeSTT import AudioToTextRecorder

PIECE_BYTES = 1_024  # 32 ms: what its voice detection takes at once
LAST_WORDS_S = 3.0


def main(port: int, model: str, language: str) -> None:
    recorder = AudioToTextRecorder(
        model=model,
        realtime_model_type=model,
        use_main_model_for_realtime=True,
        language=language,
        device="cpu",
        compute_type="int8",
        use_microphone=False,
        spinner=False,
        no_log_file=True,
        enable_realtime_transcription=True,
        on_realtime_transcription_update=lambda text: shown[-1].partial(text) if shown else None,
    )
    shown: list[Transcript] = []

    def finals() -> None:
        while True:
            if (text := recorder.text()) and shown:
                shown[-1].final(text)

    def handle(client: socket.socket) -> None:
        shown.append(Transcript(client))
        for piece in sound(client, PIECE_BYTES):
            recorder.feed_audio(piece)
        threading.Event().wait(LAST_WORDS_S)

    threading.Thread(target=finals, daemon=True).start()
    serve_one(port, handle)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
