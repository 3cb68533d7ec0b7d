"""Pretrain `vit-nano`, the small vision backbone of the suite, on handwritten glyphs.

The model learns to name a glyph and its turn and to sketch it; only the encoder is kept. Only the
alphabets of `PRETRAINING_ALPHABETS` are read, so that no class of the suite's own glyph stream is seen here.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from transformers import ViTConfig, ViTModel

PRETRAINING_ALPHABETS = ("Balinese", "Japanese_(katakana)", "Korean", "Sanskrit")
STREAM_ALPHABETS = ("Greek", "Latin", "Tagalog", "Early_Aramaic")

IMAGE_SIZE = 16
QUARTER_TURNS = 4
SKETCH_SIZE = 8
SKETCH_WEIGHT = 3.0
LOG_EVERY = 100
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def build_encoder() -> ViTModel:
    """Return the untrained encoder (about 1.2 M parameters)."""
    config = ViTConfig(
        image_size=IMAGE_SIZE,
        patch_size=4,
        num_channels=3,
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        # About 1/sqrt(hidden size); the default of 0.02 suits wide models and learns slowly here.
        initializer_range=0.08,
    )
    return ViTModel(config, add_pooling_layer=False)


def load_glyphs(data_dir: Path) -> tuple[Tensor, Tensor]:
    """Return the pretraining glyphs, light ink in 0..1 of shape (N, 1, 32, 32), and their class numbers."""
    folder = data_dir / "vision"
    names = json.loads((folder / "omniglot32.json").read_text(encoding="utf-8"))["class_names"]
    with np.load(folder / "omniglot32.npz") as arrays:
        images = np.concatenate([arrays["train_images"], arrays["test_images"]])
        labels = np.concatenate([arrays["train_labels"], arrays["test_labels"]])
    chosen = [i for i, name in enumerate(names) if name.split("/")[0] in PRETRAINING_ALPHABETS]
    keep = np.isin(labels, chosen)
    ink = 1 - torch.from_numpy(images[keep]).float().unsqueeze(1) / 255
    return ink, torch.from_numpy(np.searchsorted(chosen, labels[keep]))


def to_pixel_values(grey: Tensor) -> Tensor:
    """Turn grey images in 0..1 of shape (N, 1, H, W) into the encoder's input."""
    return ((grey - 0.5) / 0.5).expand(-1, 3, -1, -1)


def ink_boxes(ink: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centre (N, 2) and half extent (N, 2) of each glyph's ink, as x, y in -1..1."""
    size = ink.shape[-1]
    centres, extents = [], []
    for axis in (2, 3):  # the maximum over rows leaves the columns, that is x
        present = ink.amax(dim=(1, axis)) > 0.2
        first = present.float().argmax(dim=1)
        last = size - 1 - present.flip(1).float().argmax(dim=1)
        centres.append((first + last + 1) / size - 1)
        extents.append((last - first + 1) / size)
    return torch.stack(centres, dim=1), torch.stack(extents, dim=1)


def uniform(count: int, low: float, high: float) -> Tensor:
    """Return `count` draws between `low` and `high`."""
    return torch.empty(count).uniform_(low, high)


def thicken(ink: Tensor) -> Tensor:
    """Widen the strokes of each image by 0, 1 or 2 pixels a side, some images softly."""
    draw = torch.rand(len(ink), 1, 1, 1)
    for share in (0.65, 0.2):
        ink = torch.where(draw < share, F.max_pool2d(ink, 3, stride=1, padding=1), ink)
    # Averaging thins the core of a stroke again and greys its edge.
    soft = torch.rand(len(ink), 1, 1, 1) < 0.3
    return torch.where(soft, F.avg_pool2d(ink, 3, stride=1, padding=1), ink)


def warp(ink: Tensor, centres: Tensor, extents: Tensor, turns: Tensor) -> Tensor:
    """Turn, scale, shear, shift and bend each image at random, starting from its ink box."""
    count = len(ink)
    angle = torch.deg2rad(uniform(count, -15, 15)) + turns * (math.pi / 2)
    # The share of the frame that the glyph fills: from loose, as drawn, to tight, as in cropped digits.
    zoom = (extents.amax(dim=1) + 0.06) / uniform(count, 0.6, 1.1)
    stretch = torch.exp(uniform(count, -0.25, 0.25))
    shear = uniform(count, -0.25, 0.25)
    cos, sin = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    zero = torch.zeros(count)
    shape = torch.stack([torch.stack([stretch, shear], 1), torch.stack([zero, 1 / stretch], 1)], 1)
    linear = turn @ shape * zoom[:, None, None]
    shift = torch.stack([uniform(count, -0.12, 0.12), uniform(count, -0.12, 0.12)], 1)
    offset = centres[:, :, None] + linear @ shift[:, :, None]
    grid = F.affine_grid(torch.cat([linear, offset], dim=2), list(ink.shape), align_corners=False)
    bend = torch.randn(count, 2, 4, 4) * uniform(count, 0, 0.06)[:, None, None, None]
    bend = F.interpolate(bend, size=ink.shape[-2:], mode="bicubic", align_corners=False)
    return F.grid_sample(ink, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def shrink(ink: Tensor) -> Tensor:
    """Reduce to the encoder's image size, half of the images through 8x8 pixels, which blurs them."""
    sharp = F.adaptive_avg_pool2d(ink, IMAGE_SIZE)
    coarse = F.interpolate(F.adaptive_avg_pool2d(ink, 8), size=IMAGE_SIZE, mode="bilinear")
    return torch.where(torch.rand(len(ink), 1, 1, 1) < 0.5, coarse, sharp)


def change_contrast(ink: Tensor) -> Tensor:
    """Change each image's brightness curve and ink strength, and add a little noise."""
    gamma = torch.exp(uniform(len(ink), -0.5, 0.5))[:, None, None, None]
    strength = uniform(len(ink), 0.7, 1.3)[:, None, None, None]
    noise = torch.randn_like(ink) * uniform(len(ink), 0, 0.04)[:, None, None, None]
    return (ink.clamp(0, 1) ** gamma * strength + noise).clamp(0, 1)


def learning_rate_share(step: int, steps: int, warm_up: int) -> float:
    """Return the share of the peak learning rate: a linear warm-up, then half a cosine down to 0."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


class PretrainingHeads(nn.Module):
    """The temporary heads on the CLS feature: which glyph and turn it is, and a coarse sketch of the image.

    The sketch gives a dense signal from the first step; on names alone a model this small stays at chance for
    most of a short run. It also keeps the layout of strokes in the feature, which glyphs never seen need.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.name = nn.Linear(width, classes)
        self.sketch = nn.Linear(width, SKETCH_SIZE**2)

    def forward(self, features: Tensor, targets: Tensor, ink: Tensor) -> Tensor:
        """Return the loss of a batch: cross-entropy of names plus the unexplained variance of the sketch."""
        drawn = F.adaptive_avg_pool2d(ink, SKETCH_SIZE).flatten(1)
        unexplained = F.mse_loss(self.sketch(features), drawn) / drawn.var()
        return (
            F.cross_entropy(self.name(features), targets, label_smoothing=0.1) + SKETCH_WEIGHT * unexplained
        )


def pretrain(
    encoder: ViTModel, ink: Tensor, labels: Tensor, steps: int, batch_size: int, peak_rate: float
) -> None:
    """Train `encoder` in place to name each glyph with its quarter turn and to sketch it."""
    centres, extents = ink_boxes(ink)
    heads = PretrainingHeads(encoder.config.hidden_size, (int(labels.max()) + 1) * QUARTER_TURNS)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak_rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, steps, warm_up=min(100, steps // 10))
    )
    encoder.train()
    seen_loss = 0.0
    for step in range(1, steps + 1):
        rows = torch.randint(len(ink), (batch_size,))
        turns = torch.randint(QUARTER_TURNS, (batch_size,))
        drawn = shrink(thicken(warp(ink[rows], centres[rows], extents[rows], turns)))
        features = encoder(to_pixel_values(change_contrast(drawn))).last_hidden_state[:, 0]
        loss = heads(features, labels[rows] * QUARTER_TURNS + turns, drawn)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        seen_loss += loss.item()
        if step % LOG_EVERY == 0:
            print(f"step {step}/{steps} loss {seen_loss / LOG_EVERY:.3f}", flush=True)
            seen_loss = 0.0
    encoder.eval()


@torch.no_grad()
def digits_ncm_accuracy(encoder: ViTModel) -> float:
    """Return the nearest-class-mean accuracy (cosine) of frozen CLS features on scikit-learn's digits."""
    digits = load_digits()
    grey = torch.from_numpy(digits.images).float().unsqueeze(1) / 16
    grey = F.interpolate(grey, size=IMAGE_SIZE, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(digits.target)
    features = torch.cat([encoder(x).last_hidden_state[:, 0] for x in to_pixel_values(grey).split(256)])
    train, test = train_test_split(np.arange(len(labels)), test_size=0.5, random_state=0, stratify=labels)
    features = F.normalize(features, dim=1)
    means = torch.stack([features[train][labels[train] == digit].mean(dim=0) for digit in range(10)])
    predicted = (features[test] @ F.normalize(means, dim=1).T).argmax(dim=1)
    return (predicted == labels[test]).float().mean().item()


def save_bundle(encoder: ViTModel, out: Path) -> None:
    """Write the encoder in half precision, with the settings of its image processor."""
    encoder.half().save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Pretrain, save and check the backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, required=True, help="folder that holds vision/omniglot32.npz"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    encoder = build_encoder()
    ink, labels = load_glyphs(options.data_dir)
    print(f"{len(ink)} glyphs of {int(labels.max()) + 1} classes")
    pretrain(encoder, ink, labels, options.steps, options.batch_size, options.learning_rate)
    save_bundle(encoder, options.out)
    saved = ViTModel.from_pretrained(options.out, add_pooling_layer=False, dtype=torch.float32)
    print(f"nearest class mean on digits: {digits_ncm_accuracy(saved):.4f}")


if __name__ == "__main__":
    main()
