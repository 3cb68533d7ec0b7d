"""ImageNet-A: 200 classes of natural adversarial images in 10 tasks of 20 (or 20 of 10); from files.

The set itself has no training part. The split in use, 5981 and 1519 images, is PILOT's prepared download. An
unpacked tar is read with lists of the same form as ImageNet-R's where there are any. The hub's copy has one
split and no file names.
"""

from __future__ import annotations

from benchmark.stream import Stream, protocols
from tasks.sources import image_protocols, image_sets, images
from tasks.sources.image_sources import ImageSource, listed_folders, split_folders

SOURCE = ImageSource(
    "ImageNet-A",
    (split_folders("imagenet-a"), listed_folders("imagenet-a")),
    without_hub="the hub's barkermrl/imagenet-a has no file names to match a published split to",
    rows=(5981, 1519),
)


STREAM = Stream(
    name="imagenet-a",
    title="ImageNet-A, 10 tasks of 20 classes",
    kind="image",
    licence="MIT",
    citation="Hendrycks et al., Natural Adversarial Examples, 2021",
    homepage="https://github.com/hendrycks/natural-adv-examples",
    orders=images.ORDERS,
    protocols=protocols(
        image_protocols.smoke(train_limit=400, test_limit=200),
        image_protocols.litelora("ImageNet-A, 20 tasks"),
        image_protocols.sdlora("the authors' log for ImageNet-A, seed 1993 (--order 1)", epochs=20),
        image_protocols.cllora("ina.json", epochs=25, batch_size=32),
    ),
    load=SOURCE.load_sliced,
    sources=SOURCE.stated,
    parameters=image_sets.SlicedImageSettings,
    published={**image_sets.PUBLISHED, "litelora": {"test_view": "centre", "tasks": 20}},
)
