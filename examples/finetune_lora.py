"""Fine-tunes a language model with LoRA (peft) from somebody's published weights, and resumes exactly. The base is frozen: a checkpoint
holds the adapter alone, and resumes on the same base only.

    python examples/finetune_lora.py BASE --run ckpts/lora       BASE: the folder of a published GPT-2, or nothing for a small one made up here
"""

import argparse

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel

import cairn


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tunes a model with LoRA.")
    parser.add_argument("base", nargs="?")
    parser.add_argument("--run", default="ckpts/lora")
    parser.add_argument("--steps", type=int, default=60)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    made_up = GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=4)
    base = GPT2LMHeadModel(GPT2Config.from_pretrained(arguments.base) if arguments.base else made_up)
    if arguments.base:  # what is published as GPT2Model has names without this beginning
        print(cairn.load(arguments.base, into=base, rename={r"^(?!transformer\.|lm_head\.)": "transformer."}))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["c_attn"], lora_dropout=0.1, fan_in_fan_out=True))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    tokens = torch.randint(0, 64, (128, 32), generator=torch.Generator().manual_seed(1))
    data = cairn.data(DataLoader(tokens, batch_size=8, shuffle=True))
    state = {"model": model, "optimizer": optimizer, "data": data, "rng": cairn.RNG()}

    with cairn.CheckpointManager(arguments.run, state, save=cairn.Save(every_steps=20)) as manager:
        step = manager.restore().step
        while step < arguments.steps and not manager.should_stop:
            for batch in data:
                loss = model(input_ids=batch, labels=batch).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
                if step % 20 == 0:
                    print(f"step {step}: loss {loss.item():.6f}")
                manager.save(step, metrics={"loss": loss}, force=step == arguments.steps)
                if step == arguments.steps or manager.should_stop:
                    break


if __name__ == "__main__":
    main()
