import snntorch as snn
import torch
from torch import nn
STEPS = 8
class Net(nn.Module):
    def __init__(self, beta=0.8):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 5)
        self.pool1 = nn.AvgPool2d(2)
        self.lif1 = snn.Leaky(beta=beta, reset_mechanism="zero")
        self.conv2 = nn.Conv2d(12, 32, 5)
        self.pool2 = nn.AvgPool2d(2)
        self.lif2 = snn.Leaky(beta=beta, reset_mechanism="zero")
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(512, 10)
        self.lif3 = snn.Leaky(beta=beta, reset_mechanism="zero")

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem()
        spikes = []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.pool1(self.conv1(x[step])), mem1)
            spk2, mem2 = self.lif2(self.pool2(self.conv2(spk1)), mem2)
            spk3, mem3 = self.lif3(self.fc(self.flatten(spk2)), mem3)
            spikes.append(spk3)
        return torch.stack(spikes)
