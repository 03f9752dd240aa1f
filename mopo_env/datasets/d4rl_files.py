"""The gym-mujoco files that D4RL published, told by their SHA-256.

The checksums are those that TensorFlow Datasets lists for its downloads from D4RL's server, in `checksums.tsv` of
`d4rl_mujoco_halfcheetah`, `d4rl_mujoco_hopper` and `d4rl_mujoco_walker2d`
(https://github.com/tensorflow/datasets/tree/master/tensorflow_datasets/d4rl).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from mopo_env.errors import ConfigError, DatasetError

__all__ = ["D4RL_FILES", "check_sha256", "d4rl_task"]

D4RL_FILES: dict[str, str] = {
    "halfcheetah_expert.hdf5": "1959944d9dbff4a7e7ebcd38436a1fbf1599eda4b7e1f223c6157f7504e126d8",
    "halfcheetah_medium.hdf5": "fcaf602daa063c3031b9c36b777342a1ba669b41eaa6113258ecb9fb789768c3",
    "halfcheetah_medium_expert.hdf5": "c9c90f6b9fca3caa662d6a1f89808171bdb4050bab1db05d24bd85d909a333f1",
    "halfcheetah_mixed.hdf5": "61270f65dcadddae451607eeec68fdae50d0d6ae73fab185d9fc1979cc4f385d",
    "halfcheetah_random.hdf5": "5ba6381942a5110069c78cdaabdeacf1847b970c5b2e72ea5be1756896363fa5",
    "halfcheetah_expert-v1.hdf5": "7e9893114c02d82a9ca2067e3805e4037e06b57bffeac6ac2018459f1490de8d",
    "halfcheetah_full_replay-v1.hdf5": "cdb723414b8498a970e590e76b097a408ef1e00838c297e24215f7ca9f077ded",
    "halfcheetah_medium-v1.hdf5": "2fded5b217390f7992e4d5052961cb9a6e027e8f2e2a29dd4ab234eb4b205130",
    "halfcheetah_medium_expert-v1.hdf5": "89ce3c99ae0b4bdd547e4f7cd0ad318c36b3765b6b83de57a44436c7c1c61cdc",
    "halfcheetah_medium_replay-v1.hdf5": "c38d04f1dabd9969e7a9abff12f69280cb68c8d7174bc21afe4b21e13367b242",
    "halfcheetah_random-v1.hdf5": "4178873b1d3adf4fc45c8de2599a9c28695d7697d9e73c0f3fb6715f93a21c90",
    "halfcheetah_expert-v2.hdf5": "d9fe53bb994eb1e20a99b4fa3412cd76a1bb7966a7ff55e0fcbdd6081bd2965f",
    "halfcheetah_full_replay-v2.hdf5": "27fdf7ea86e5a2cbd24d611ae9e703c86ec2e8e52823abc69dd9af6afb3a36c0",
    "halfcheetah_medium-v2.hdf5": "41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0",
    "halfcheetah_medium_expert-v2.hdf5": "015db75dae5bbe8e94029b71fa0bafc2073365df0c94744e71031189f3f79c06",
    "halfcheetah_medium_replay-v2.hdf5": "48d494a4770c11f48260736dec090b78bdca8375647ed4d24bfa5b6610c7f683",
    "halfcheetah_random-v2.hdf5": "25407aef85b5d16c0f36b4149341edb4acc6a9e88c1db529b2de19e7464874ba",
    "hopper_expert.hdf5": "6fea535033d962eff1427d76d7b2e0e4f57af1d4921f7ef6d917779f2968fd84",
    "hopper_medium.hdf5": "3e6530f00ba134b375dbae56a2120d8e6d6d0afe33d402b0aca3ed3a09fca83b",
    "hopper_medium_expert.hdf5": "3a024c1ecb4ff816963546d4423e2a57d8db85c9e0f4579aee9294e837d3fad0",
    "hopper_mixed.hdf5": "901797e3f21a963b88ced7ab36ed8361ad548b470c38a0855bc265bb4dfb3de9",
    "hopper_random.hdf5": "667e8a78d3460d19d3104826ad3e56abc6b3c07b34e5c179c53865c3dcc6844e",
    "hopper_expert-v1.hdf5": "531847c2f131addefa016b3000b409a0bb2afb50cb4ffe82639be8b08f78f837",
    "hopper_full_replay-v1.hdf5": "7f02bb267d455e20b1f0153a189ed9df3bfcb08ea8af6d5aeb58303b2a2d5345",
    "hopper_medium-v1.hdf5": "0e5037ccacd4bc8e8b60b1b853cf574e34fa1a74457892351ee96020b6bf7ace",
    "hopper_medium_expert-v1.hdf5": "bd1ee06588ac7a055fce256cb41aadd67fc6f566ed22a76a47b479439856c5a4",
    "hopper_medium_replay-v1.hdf5": "f807f18983c09c8d9d275e9e82aa0a17aa8649c6e29ebd3e3e3c110f25fcfbfa",
    "hopper_random-v1.hdf5": "1887aaf27bf631787013a59966e06b323ee42594aa9d9974af44301d118ce4d7",
    "hopper_expert-v2.hdf5": "01aa219a5f8eea5e639eccdc636ec2bf40e317159a95cf4bf6e985f16909941b",
    "hopper_full_replay-v2.hdf5": "56baf95963c51c1e964049a974566c50ba80f289390565523e60c0ba83e0982e",
    "hopper_medium-v2.hdf5": "5bdf1bc4a713c82941de44633df669b36c89850b652a25985166796d25cf71a0",
    "hopper_medium_expert-v2.hdf5": "9d51ad87f8c905be3880d84c6140bcdb7fbf39a19e046a237f238ba34fec9e26",
    "hopper_medium_replay-v2.hdf5": "e121c5f7c9857a307baa9edc6a2c3b48e85fedb9ac316ecddd0f48ca7ef4e39b",
    "hopper_random-v2.hdf5": "63103ef7059db4c0819bd054f4e83ff339030b50bcdb46bdbe50385f234b5054",
    "walker2d_expert.hdf5": "6b24651d8643f608bc15b579a2315562935bf06de073a73ec9fb6dfe2b385aa2",
    "walker2d_medium.hdf5": "181a62086f3f287759201a9643e805b9e56438a8532a3915825dbaa6555bd173",
    "walker2d_medium_expert.hdf5": "62b612b2fe593142391b52c1ee04814ea8ba36df5de007969ec50b8b1455f245",
    "walker2d_random.hdf5": "b68931aeb97c9c550f69c2054f2f303bd2a3621385001af82bf0db86fd04b2ed",
    "walker_mixed.hdf5": "d23588d4e07e58cbc276efea183edaa26eede5a44a1c2265adc8cdb6f68a56c7",
    "walker2d_expert-v1.hdf5": "db9fa2c2777687a964cfec6c3c7e8b1c35bd2d5813ea760439fa957db4fe0e91",
    "walker2d_full_replay-v1.hdf5": "c9f897563e685d90ae70dcb23534b6b96328832f4ee5a043fc253c8918a52403",
    "walker2d_medium-v1.hdf5": "66bc9e18acedae54301256fba5257cbf35a605a84adbf688d1bc67ce62526d53",
    "walker2d_medium_expert-v1.hdf5": "f16bc00b6905f08d096a2b235f1c7ba73389db4f04e968a622c8ad11492fcf2f",
    "walker2d_medium_replay-v1.hdf5": "dd22a299855eb7327944f946053c060ff37c0384e3b1be8bc90f27a2535ff380",
    "walker2d_random-v1.hdf5": "82135416af2ce85527ad513e2c055d07e4e40f6288b19b24921d52daf6c86232",
    "walker2d_expert-v2.hdf5": "2985dc3d436a8baa10e8f43f946fe1d7c6337a4e4fbc65def70618093b18c59a",
    "walker2d_full_replay-v2.hdf5": "f2720f9d27b2acef6ec9a7d9ad3b80b6c2078ad4467cee668a81e3b3c80bcf2a",
    "walker2d_medium-v2.hdf5": "cf00f43add04c17fdfc2958dd581dea0851b2e5bedbe6fda073758a8f841aeda",
    "walker2d_medium_expert-v2.hdf5": "6b8d7f868c45bbaedf460be797fb7271b46dee6ebe45fe7a64319f2005b59a04",
    "walker2d_medium_replay-v2.hdf5": "e75de96a4f77acf7d4e0d6fdf0d7ccb177c26c44bb4388e4fd99f543ccfa18db",
    "walker2d_random-v2.hdf5": "4e863bb6090cf4a461548bd470564b32f1ae5b32ef3085f816b2ede7f092e7fa",
}
_NAME = re.compile(r"(halfcheetah|hopper|walker2d|walker)_([a-z_]+)(?:-v\d)?\.hdf5")
# The paper's names of D4RL's recipes; of "expert" and "full_replay" it makes no use.
_RECIPES = {
    "random": "random",
    "medium": "medium",
    "mixed": "mixed",
    "medium_replay": "mixed",
    "medium_expert": "med-expert",
}


def d4rl_task(file_name: str) -> str | None:
    """Return the name of the task that a file of D4RL holds the data of; None if there is no such task."""
    found = _NAME.fullmatch(file_name)
    if found is None or found[2] not in _RECIPES:
        return None
    return f"{'walker2d' if found[1] == 'walker' else found[1]}-{_RECIPES[found[2]]}"


def check_sha256(path: Path, expected: str | None = None) -> str:
    """Return the SHA-256 of a file, in small hexadecimal digits.

    Raises:
        DatasetError: If there is no such file, or it has another checksum than expected.
        ConfigError: If what is expected is no SHA-256.
    """
    if expected is not None and re.fullmatch(r"[0-9a-fA-F]{64}", expected) is None:
        raise ConfigError(f"sha256: found {expected!r}, expected 64 hexadecimal digits.")
    try:
        if not path.is_file():
            raise DatasetError(f"{path}: no such file.")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error}.") from error
    if expected is not None and found != expected.lower():
        raise DatasetError(
            f"{path}: found the SHA-256 {found}, expected {expected.lower()}. The file is incomplete, damaged or "
            "another one; fetch it again."
        )
    return found
