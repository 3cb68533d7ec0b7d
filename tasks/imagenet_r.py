"""ImageNet-R: 200 classes of renditions in 10 tasks of 20 (or 5, 20, 50), class-incremental; from files.

The set itself has no training part. Two splits of it into 24000 and 6000 images are in use: the lists that
CODA-Prompt published, for the original tar, and PILOT's prepared folders. The hub's copy has no file names,
so no list can be matched to it, and a fresh random split is never made.
"""

from __future__ import annotations

from benchmark.stream import Stream, protocols
from tasks.sources import image_protocols, image_sets, images
from tasks.sources.image_sources import ImageSource, listed_folders, split_folders

SOURCE = ImageSource(
    "ImageNet-R",
    (split_folders("imagenet-r"), listed_folders("imagenet-r")),
    without_hub="the hub's axiong/imagenet-r has no file names to match a published split to",
    rows=(24000, 6000),
)


STREAM = Stream(
    name="imagenet-r",
    title="ImageNet-R, 10 tasks of 20 classes",
    kind="image",
    licence="MIT for the set; the images' licences differ",
    citation="Hendrycks et al., The Many Faces of Robustness, 2021; Wang et al., DualPrompt, 2022",
    homepage="https://github.com/hendrycks/imagenet-r",
    orders=images.ORDERS,
    protocols=protocols(
        image_protocols.smoke(train_limit=400, test_limit=200),
        image_protocols.litelora("ImageNet-R, 20 tasks"),
        image_protocols.sdlora(
            "the official configuration for ImageNet-R, there with seed 1995 (--order 2)", epochs=20
        ),
        image_protocols.inflora("mimg10_inflora.json", epochs=50),
        image_protocols.pilot("exps/ease_inr.json", batch_size=16),
        image_protocols.cllora("inr.json", epochs=20, batch_size=32, backbone=image_protocols.VIT),
    ),
    load=SOURCE.load_sliced,
    sources=SOURCE.stated,
    parameters=image_sets.SlicedImageSettings,
    published={
        **image_sets.PUBLISHED,
        "litelora": {"test_view": "centre", "tasks": 20},
        "cllora": {"test_view": "centre", "tasks": 40},
    },
)
