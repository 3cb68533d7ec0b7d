"""Pretrain the small decoder over the frozen MiniLM encoder: `python -m scripts.pretraining.minilm_s2s`."""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoTokenizer, BertConfig, BertLMHeadModel, BertModel

from benchmark.models.minilm import (
    BORROWED_KEYS,
    DECODER_WEIGHTS_NAME,
    load_encoder,
    minilm_folder,
    new_decoder,
    own_weights,
)
from scripts.pretraining.text_pairs import make_pairs, read_passages

LAYERS = 2
SOURCE_TOKENS, TARGET_TOKENS = 96, 24
BATCH = 16
POOL = 1024  # fresh pairs a round: encoded once, then used for several passes, as encoding costs most
PASSES = 3
PEAK_RATE = 1e-3
WARMUP_STEPS = 100
HELD_OUT_PASSAGES, HELD_OUT_PAIRS = 100, 640
READOUT_TEXTS = 600
TENSORS: dict[str, Any] = {"padding": True, "truncation": True, "return_tensors": "pt"}
# MiniLM's output has a spread of 0.2 where the decoder's states have 1: larger weights make up for it.
KEY_SPREAD = 0.1


@dataclass(frozen=True)
class Batch:
    """Encoded sources with decoder inputs and labels; `names` are the objectives."""

    states: torch.Tensor
    mask: torch.Tensor
    inputs: torch.Tensor
    input_mask: torch.Tensor
    labels: torch.Tensor
    names: list[str]


@torch.no_grad()
def fit_readout(
    encoder: BertModel, tokenizer: Any, texts: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit the linear map (weight, bias) from an encoder state to its own token's embedding, with spread 1."""
    states, tokens = [], []
    for start in range(0, len(texts), BATCH):
        given = tokenizer(list(texts[start : start + BATCH]), max_length=SOURCE_TOKENS, **TENSORS)
        real = given["attention_mask"] == 1
        states.append(encoder(**given).last_hidden_state[real])
        tokens.append(given["input_ids"][real])
    embeddings = encoder.embeddings.word_embeddings.weight
    wanted = functional.normalize(embeddings - embeddings.mean(0), dim=1)[torch.cat(tokens)]
    given_states = torch.cat(states)
    middle = given_states.mean(0)
    centred = given_states - middle
    ridge = 1e-3 * len(centred) * torch.eye(centred.shape[1])
    weight = torch.linalg.solve(centred.T @ centred + ridge, centred.T @ wanted).T
    weight = weight / (centred @ weight.T).std()
    return weight, -weight @ middle


def start_decoder(
    encoder: BertModel, tokenizer: Any, readout: tuple[torch.Tensor, torch.Tensor]
) -> BertLMHeadModel:
    """Create the decoder from the encoder's lower layers, with cross-attention that reads source tokens out.

    Starting from "emit the tokens attended to" saves the steps that a random start spends on finding it.
    """
    config = BertConfig(
        vocab_size=encoder.config.vocab_size,
        hidden_size=encoder.config.hidden_size,
        num_hidden_layers=LAYERS,
        num_attention_heads=encoder.config.num_attention_heads,
        intermediate_size=encoder.config.intermediate_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        is_decoder=True,
        add_cross_attention=True,
        bos_token_id=tokenizer.cls_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )
    decoder = new_decoder(config, encoder)
    decoder.bert.load_state_dict(
        {
            key: value
            for key, value in encoder.state_dict().items()
            if key.startswith("embeddings.") or int(key.split(".")[2]) < LAYERS
        },
        strict=False,
    )
    layers: Any = decoder.bert.encoder.layer
    for layer in layers:
        attention = layer.crossattention
        torch.nn.init.normal_(attention.self.key.weight, std=KEY_SPREAD)
        attention.self.value.load_state_dict({"weight": readout[0], "bias": readout[1]})
        torch.nn.init.eye_(attention.output.dense.weight)
    torch.nn.init.eye_(decoder.cls.predictions.transform.dense.weight)
    return decoder


@torch.no_grad()
def encode(triples: Sequence[tuple[str, str, str]], encoder: BertModel, tokenizer: Any) -> list[Batch]:
    """Turn pairs into batches of similar lengths, short and long targets apart, with the encoder's output."""
    batches = []
    ordered = sorted(triples, key=lambda triple: (len(triple[2]) // 30, len(triple[1])))
    for start in range(0, len(ordered), BATCH):
        names, sources, targets = zip(*ordered[start : start + BATCH], strict=True)
        source = tokenizer(list(sources), max_length=SOURCE_TOKENS, **TENSORS)
        target = tokenizer(list(targets), max_length=TARGET_TOKENS, **TENSORS)
        ids, present = target["input_ids"], target["attention_mask"]
        states = encoder(source["input_ids"], attention_mask=source["attention_mask"]).last_hidden_state
        labels = ids[:, 1:].masked_fill(present[:, 1:] == 0, -100)
        batches.append(
            Batch(states, source["attention_mask"], ids[:, :-1], present[:, :-1], labels, list(names))
        )
    return batches


def target_logits(decoder: BertLMHeadModel, batch: Batch) -> torch.Tensor:
    """Return the logits at real target positions only, as the vocabulary is wide and padding common."""
    hidden = decoder.bert(
        batch.inputs,
        attention_mask=batch.input_mask,
        encoder_hidden_states=batch.states,
        encoder_attention_mask=batch.mask,
        use_cache=False,
    ).last_hidden_state
    return decoder.cls(hidden[batch.labels != -100])


@torch.no_grad()
def token_accuracy(decoder: BertLMHeadModel, batches: Iterable[Batch]) -> dict[str, float]:
    """Return the share of right next tokens (end mark included) for each objective and over `all`."""
    right: defaultdict[str, int] = defaultdict(int)
    total: defaultdict[str, int] = defaultdict(int)
    decoder.eval()
    for batch in batches:
        real = batch.labels != -100
        hits = torch.zeros_like(real)
        hits[real] = target_logits(decoder, batch).argmax(-1) == batch.labels[real]
        for row, name in enumerate(batch.names):
            for key in (name, "all"):
                right[key] += int(hits[row].sum())
                total[key] += int(real[row].sum())
    return {key: right[key] / total[key] for key in sorted(total)}


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate's share of its peak: linear warm-up, then cosine to zero."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)))


def train_round(
    decoder: BertLMHeadModel, batches: Sequence[Batch], optimizer: Any, schedule: Any, rng: random.Random
) -> float:
    """Pass over one pool of pairs several times; return the mean loss."""
    decoder.train()
    losses = []
    for _ in range(PASSES):
        for batch in rng.sample(batches, len(batches)):
            loss = functional.cross_entropy(target_logits(decoder, batch), batch.labels[batch.labels != -100])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def save_decoder(decoder: BertLMHeadModel, out: Path) -> None:
    """Write the decoder's own tensors in half precision and its configuration."""
    out.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().half().contiguous() for key, value in own_weights(decoder).items()}
    save_file(tensors, out / DECODER_WEIGHTS_NAME)
    decoder.config.save_pretrained(out)


def pretrain(data_dir: Path, out: Path, rounds: int, seed: int) -> None:
    """Train the decoder for `rounds` pools of fresh pairs and save it."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder(), trust_remote_code=False)
    encoder = load_encoder(minilm_folder()).requires_grad_(False).eval()
    passages = read_passages(data_dir)
    rng.shuffle(passages)
    held_out, train = passages[:HELD_OUT_PASSAGES], passages[HELD_OUT_PASSAGES:]
    words = sorted(
        word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 1
    )
    starters = [source for _, source, _ in make_pairs(train, words, READOUT_TEXTS, rng)]
    decoder = start_decoder(encoder, tokenizer, fit_readout(encoder, tokenizer, starters))
    checks = encode(make_pairs(held_out, words, HELD_OUT_PAIRS, rng), encoder, tokenizer)
    trained = [value for key, value in decoder.named_parameters() if key not in BORROWED_KEYS]
    optimizer = torch.optim.AdamW(trained, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    steps = rounds * PASSES * POOL // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps))
    print(f"{len(train)} passages to train on, {len(held_out)} held out, {steps} steps", flush=True)
    began = time.monotonic()
    for number in range(1, rounds + 1):
        batches = encode(make_pairs(train, words, POOL, rng), encoder, tokenizer)
        loss = train_round(decoder, batches, optimizer, schedule, rng)
        accuracy = token_accuracy(decoder, checks)["all"]
        seconds = time.monotonic() - began
        print(f"round {number}/{rounds} loss {loss:.3f} held-out {accuracy:.3f} {seconds:.0f} s", flush=True)
        save_decoder(decoder, out)
    for name, accuracy in token_accuracy(decoder, checks).items():
        print(f"held-out token accuracy, {name}: {accuracy:.3f}")


def main() -> None:
    """Read the command line and pretrain."""
    parser = argparse.ArgumentParser(description="Pretrain the minilm-s2s decoder")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with longseq/dbpedia.jsonl.gz")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for decoder.safetensors and config.json"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pretrain(arguments.data_dir, arguments.out, arguments.rounds, arguments.seed)


if __name__ == "__main__":
    main()
