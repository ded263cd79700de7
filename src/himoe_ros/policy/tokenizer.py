"""Instruction -> token ids, the way PaliGemma is prompted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ..core.errors import ConfigError, ObservationError

BOS = "<bos>"


def prompt(instruction: str) -> str:
    """Lower case, one line, ending in a full stop where it has no other end."""
    text = re.sub(r"[\s_]+", " ", instruction.lower()).strip()
    return text if text.endswith((".", "!", "?")) else text + "."


class InstructionTokenizer:
    """BOS + words + newline, as the released model was trained."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._bos, self._newline = self._single(BOS), self._single("\n")

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> InstructionTokenizer:
        """Read a `tokenizer.json`."""
        if not path.is_file():
            raise ConfigError(
                f"tokenizer file {path} is missing; a policy folder needs the tokenizer.json it was trained with"
            )
        return cls(Tokenizer.from_file(str(path)), max_tokens)

    def __call__(self, instruction: str) -> list[int]:
        """Token ids, at most `max_tokens`.

        Raises:
            ObservationError: the instruction is empty or too long.
        """
        # A token is at least one character, so this bound is safe, and a megabyte is never tokenised.
        if not instruction.strip() or len(instruction) > 32 * self._max_tokens:
            raise ObservationError(
                f"instruction must have 1 to {32 * self._max_tokens} characters, got {len(instruction.strip())}"
            )
        words = self._tokenizer.encode(prompt(instruction), add_special_tokens=False).ids
        ids = [self._bos, *words, self._newline]
        if len(ids) > self._max_tokens:
            raise ObservationError(f"instruction has {len(ids)} tokens, at most {self._max_tokens}; shorten it")
        return ids

    def _single(self, text: str) -> int:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        if len(ids) != 1:
            raise ConfigError(f"the tokenizer must have one token for {text!r}, it gives {ids}")
        return int(ids[0])


def learn(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer for small models: words of the sentences become tokens, and any
    other text still has a spelling in bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[BOS, "\n"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(prompt, sentences), trainer)
    return tokenizer
