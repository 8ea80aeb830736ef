"""WhisperLive's server; its wheel has no program that starts it. Arguments: port, folder of the model."""

import sys

from whisper_live.server import TranscriptionServer

MOST_CLIENTS = 16
LONGEST_S = 24 * 3_600


def main(port: int, model: str) -> None:
    TranscriptionServer().run(
        "127.0.0.1",
        port=port,
        backend="faster_whisper",
        faster_whisper_custom_model_path=model,
        single_model=True,
        max_clients=MOST_CLIENTS,
        max_connection_time=LONGEST_S,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
