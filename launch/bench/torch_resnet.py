"""CPU milliseconds of the tiny model's ResNet in PyTorch, forward + backward on [128,3,32,32]: the peer of
build/test_engine_ops --gtest_also_run_disabled_tests --gtest_filter='*ResNetBench*'.

    OMP_NUM_THREADS=1 python launch/bench/torch_resnet.py [rounds]

Processor time of the whole process, so that other programs on the machine do not count; the least of all rounds.
"""
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Bottleneck(nn.Module):
    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.skip = nn.Sequential(nn.Conv2d(width_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.skip(x), inplace=True)


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    for layout in (torch.contiguous_format, torch.channels_last):
        model = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
                              Bottleneck(16, 16, 1), Bottleneck(64, 32, 2), Bottleneck(128, 64, 2),
                              Bottleneck(256, 128, 2)).to(memory_format=layout)
        x, dy, times = torch.randn(128, 3, 32, 32).to(memory_format=layout), torch.randn(128, 512), []
        for _ in range(rounds + 3):
            model.zero_grad(set_to_none=True)
            start = time.process_time()
            y = model(x).mean((2, 3))
            middle = time.process_time()
            y.backward(dy)
            end = time.process_time()
            times.append((end - start, middle - start, end - middle))
        total, forward, backward = min(times[3:])
        print(f"{layout}: forward {1e3 * forward:.0f} backward {1e3 * backward:.0f} total {1e3 * total:.0f} ms")


if __name__ == "__main__":
    main()
