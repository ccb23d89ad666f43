from __future__ import annotations

from pytest_trt.wording import closest_names, known_names

_MANY = [f"/encoder/layer.{index}/MatMul" for index in range(100)]


def test_a_near_match_is_suggested_alone():
    message = known_names("operator", "softmax", ["Add", "Softmax"])

    assert message == "did you mean 'Softmax'?"


def test_a_name_like_no_other_is_answered_with_the_list_alone():
    assert known_names("operator", "xyz", ["Add", "Mul"]) == "the operators are 'Add', 'Mul'."


def test_without_known_names_nothing_is_guessed():
    assert known_names("input", "x", []) == "leave it out: there are no inputs."


def test_letter_case_does_not_hide_a_name():
    assert closest_names("GELU", ["Erf", "Gelu"]) == ["Gelu"]


def test_many_names_are_not_all_listed():
    message = known_names("node", "/encoder/layer.42/Matmul", _MANY)

    assert message.startswith("did you mean '/encoder/layer.42/MatMul'? Other similar nodes: ")
    assert message.count("MatMul") == 5


def test_many_names_of_which_none_is_close_show_what_names_look_like():
    message = known_names("node", "?", _MANY)

    assert message.startswith(
        "none of the 100 nodes has a similar name; the first are '/encoder/layer.0/"
    )
