"""The two prompts of Stanford Alpaca, verbatim (github.com/tatsu-lab/stanford_alpaca, train.py)."""

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n"
)
INPUT = "\n\n### Input:\n"
RESPONSE = "\n\n### Response:\n"


def prompt(instruction: str, input_text: str) -> str:
    if input_text:
        return WITH_INPUT + instruction + INPUT + input_text + RESPONSE
    return WITHOUT_INPUT + instruction + RESPONSE
