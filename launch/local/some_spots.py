#!/usr/bin/env python3
"""A few spots of a few real slides, small enough to carry to a GPU machine: what gpu_check.sh --slides trains and embeds.

usage: python3 launch/local/some_spots.py IN OUT [--technology ST] [--slides 2] [--spots 24]     (any Python 3.8)

IN: a folder in STimage-1K4M layout. OUT: the same layout with the first and the last slides by name; of each the first
rows of coord/ and their counts of gene_exp/, and its image as it is.
"""
import argparse
import csv
import shutil
import sys
from pathlib import Path


def copy_rows(source, target, keep):
    """The header and the rows whose first field is kept, or the first ones where `keep` is a number: what they are called."""
    names = []
    with open(source, newline="") as f, open(target, "w", newline="") as out:
        rows, writer = csv.reader(f), csv.writer(out, lineterminator="\n")
        writer.writerow(next(rows))
        for row in rows:
            if isinstance(keep, int) and len(names) == keep:
                break
            if isinstance(keep, int) or row[0] in keep:
                writer.writerow(row)
                names.append(row[0])
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="IN", type=Path)
    parser.add_argument("target", metavar="OUT", type=Path)
    parser.add_argument("--technology", default="ST")
    parser.add_argument("--slides", type=int, default=2)
    parser.add_argument("--spots", type=int, default=24)
    args = parser.parse_args()
    source, target, ending = args.source / args.technology, args.target / args.technology, "_coord.csv"
    slides = sorted(p.name[:-len(ending)] for p in source.glob("coord/*" + ending))
    if len(slides) < args.slides:
        sys.exit(f"{source}/coord: expected at least {args.slides} slides, got {len(slides)}; give --slides or --technology")
    half = args.slides // 2
    slides = slides[:args.slides - half] + slides[len(slides) - half:]
    for sub in ("coord", "gene_exp", "image"):
        (target / sub).mkdir(parents=True, exist_ok=True)
    for slide in slides:
        spots = copy_rows(source / "coord" / (slide + ending), target / "coord" / (slide + ending), args.spots)
        counts = copy_rows(source / "gene_exp" / f"{slide}_count.csv", target / "gene_exp" / f"{slide}_count.csv", set(spots))
        if not counts:
            sys.exit(f"{source}/gene_exp/{slide}_count.csv: none of the spots of {slide}{ending} is there")
        images = [p for p in (source / "image").glob(slide + ".*")]
        if len(images) != 1:
            sys.exit(f"{source}/image: expected one image of {slide}, got {len(images)}")
        shutil.copyfile(images[0], target / "image" / images[0].name)
        print(f"{slide}: {len(spots)} spots, {len(counts)} rows of counts, {images[0].name}")
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"{args.target}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
