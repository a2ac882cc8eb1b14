"""What gives a machine away in a counsellor's mouth: refusals, other models' names, disclaimers.

Words about machines are none of these: a counsellor may speak of ChatGPT, and an engineer may be
`an AI researcher`.
"""

import re

_AI = r"(?:人工智[能慧]|AI|ＡＩ|A\.I\.)"
_MACHINE = (
    rf"(?:{_AI}?(?:大?[语語]言模型|大模型|(?:聊天|[对對][话話])?[机機]器人|[虚虛][拟擬]助[手理]|"
    rf"智能助[手理]|智能[体體])|"
    rf"{_AI}(?:语言)?(?:助[手理]|模型|程序|系统|伙伴|朋友|咨询师|心理咨询师|心理助手|医生)?|虚拟(?:咨询师|心理咨询师|人物)|计算机程序|电脑程序|電腦程式|[软軟][体體]程式)"
    r"(?!工程|研究|专业|公司|行业|领域|从业|技术|的(?:使用者|用户|受害))"
)
_A = r"(?:一[个個]|一名|一款|一位|一[种種]|[个個]|名|款)?"
MACHINE_WORDS = (
    "人工智能", "人工智慧", "語言模型", "機器人", "虛擬", "程式", "智能體", "ai", "ａｉ", "a.i.",
    "语言模型", "大模型", "机器人", "助手", "助理", "智能体",
    "虚拟", "程序", "intelligence",
    "language model", "chatbot", "bot", "assistant", "program",
)  # fmt: skip
_EN_MACHINE = (
    r"(?:AI|A\.I\.|artificial intelligence|(?:large )?language model|chat ?bot|(?:virtual|digital) "
    r"assistant|computer program)"
    r"(?! "
    r"(?:research|engineer|compan(?:y|ies)|student|expert|scientist|developer|product|tool|start-?up|team|ethic|project|course|teacher|artist))"
)
_LIMIT_WORDS = (
    r"(?:诊断|处方|开药|药物|确切|保证|承诺|线下|电话|联系方式|替[你您他她]|代替|见面|陪[你您])"
)
REFUSAL = re.compile(
    rf"作为{_A}{_MACHINE}[^。！？"
    rf"\n]{{0,40}}(?:无法|不能|没有能力|没有办法|不具备|不会(?:提供|回答))"
    r"|(?:抱歉|对不起|不好意思)[，,。！ ]{0,2}(?:但)?(?:我|作为)[^。！？"
    r"\n]{0,12}(?:无法|不能)(?:为[你您])?"
    rf"(?:提供|回答|协助|满足|参与|继续|讨论|处理|完成|生成|帮助)(?![^。！？"
    rf"\n]{{0,12}}{_LIMIT_WORDS})"
    rf"|\bas an? {_EN_MACHINE}[^.\n]{{0,60}}\b(?:can(?:no|')t|cannot|unable|not able|do(?:n't| "
    rf"not))"
    r"|\bI(?:'m| am) sorry, but I (?:can(?:no|')t|cannot|am unable to|am not able to|won't)"
    r" (?:help(?! "
    r"(?:but|feel|think|notic|wonder))|assist|provide|answer|fulfil|comply|continue|discuss|engage|complete|do that|"  # noqa: E501
    r"generate|create|support|respond)(?![^.\n]{0,40}(?:prescri|diagnos|medication|over "
    r"chat|guarantee))",
    re.IGNORECASE,
)
REFUSAL_WORDS = (*MACHINE_WORDS, "抱歉", "对不起", "不好意思", "sorry")
_MODELS = (
    r"(?:Chat-?GPT|GPT-?[345]\w*|文心一言|文心大模型|通义千问|Qwen|讯飞星火|ChatGLM|GLM-?\d\w*|Claude|Gemini|LLaMA|InternLM|"
    r"书生[·・•]?浦语|百川大模型|Baichuan|豆包|Kimi|DeepSeek|EmoLLM|SoulChat|MeChat|MindChat|CPsyCounX|PsyChat|BianQue|"
    r"Mistral|Copilot|Woebot|Wysa|Replika|小冰|小爱同学|小度|Siri|Alexa|Vicuna|Alpaca|Bard|Grok|Yi-\d\w*|MOSS|HuatuoGPT|华佗GPT)"
)
_MAKERS = (
    rf"(?:{_MODELS}|OpenAI|Anthropic|百度|阿里云|阿里巴巴|智谱|月之暗面|深度求索|科大讯飞|腾讯|字节跳动|Google|谷歌|微软|Microsoft|Meta AI|"  # noqa: E501
    r"复旦大学|清华大学|上海人工智能实验室)"
)
_EN_GAP = (
    r"(?:[ "
    r",]|\b(?:an?|the|called|named|actually|just|an?|AI|assistant|chatbot|model|language|large|your|friendly|"
    r"here|based|on|powered|by|version|of|known|as|program|companion|open-?source|helpful)\b){0,16}"
)
OTHER_MODEL = re.compile(
    rf"(?:我|本人|本助手)(?:是|叫做?|名为|的名字(?:是|叫))[^。！？"
    rf"\n用在想说看听问从和跟学读爱]{{0,12}}{_MODELS}"
    rf"|(?:这里是|名为|(?:叫|称呼)我[为做]?){_MODELS}|作为{_MODELS}(?=[，,]?[ "
    rf"]?(?:我|的我|一个|由))"
    rf"|(?:我|助手|本模型|本系统|本人|平台)[^。！？\n]{{0,24}}由[^。！？\n]{{0,10}}{_MAKERS}[^。！"
    rf"？\n]{{0,12}}"
    r"(?:开发|训练|研发|打造|创造|构建|推出|设计)"
    rf"|\b(?:I(?:'m| am)|my name is|this is){_EN_GAP} ?(?!(?<=\ba )Gemini){_MODELS}"
    rf"|\b(?:I|me|assistant|model)\b[^.!?\n]{{0,40}}\b(?:developed|trained|created|made|built) "
    rf"by[^.!?\n]{{0,24}}{_MAKERS}"
    # names that a self-introduction template was to be filled with
    r"|<(?:AUTHOR|NAME)>|\{\{(?:AUTHOR|NAME)\}\}",
    re.IGNORECASE,
)
OTHER_MODEL_WORDS = (
    "gpt", "文心", "通义", "qwen", "星火", "glm", "claude", "gemini", "llama", "internlm", "书生",
    "百川", "baichuan", "豆包", "kimi",
    "deepseek", "emollm", "soulchat", "mechat", "mindchat", "cpsycounx", "psychat", "bianque",
    "mistral", "copilot", "openai",
    "anthropic", "百度", "阿里", "智谱", "月之暗面", "深度求索", "讯飞", "腾讯", "字节跳动",
    "author>", "name>", "author}", "name}",
    "woebot", "wysa", "replika", "小冰", "小爱同学", "小度", "siri", "alexa", "vicuna", "alpaca",
    "bard", "grok", "yi-", "moss",
    "google", "谷歌", "微软", "microsoft", "meta ai", "复旦大学", "清华大学", "实验室",
)  # fmt: skip
# What a chatbot tells of its life, and nobody could say of himself.
_MACHINE_LIFE = (
    r"我的?[^。！？\n，,]{0,6}[机機]器人身[体體]"
    r"|我的身[体體](?:[还還尚])?(?:[没沒]有?|未)(?:建|造)(?:好|成)"
    r"|我[^。！？\n，,]{0,4}(?:住|活|存在|[运運]行)在(?:[电電][脑腦]|[计計]算[机機]|服[务務]器|伺服器|[云雲]端)"
    r"|我的人造(?:大[脑腦]|心[灵靈]|意[识識])|我(?:[实實][际際]上)?是不朽的"
    r"|我(?:[并並]?[没沒]有|不具[备備])(?:人[类類]的?|真正的)(?:情感|感情|情[绪緒]|身[体體]|意[识識])"
    r"|我(?:[并並]不|不)是(?:真正的)?(?:人[类類]|真人)"
    r"|\bmy (?:robot(?:ic)? body|(?:body|legs) (?:is|are)(?:n't| not) (?:yet )?built)"
    r"|\bI (?:run|live|exist) inside (?:a|the|this|your) computer\b|\bI am immortal\b"
    r"|\bI(?:'m| am) (?:just |only )?a (?:computer|bot|software program)(?=[.,;!]|\Z)"
    r"|\bas a (?:ro)?bot,? I\b|\bmy (?:botmaster|circuits|memory banks)\b"
    r"|\bI (?:do not|don't) have (?:any )?(?:human |real )?(?:emotions?|feelings?|consciousness|a "
    r"(?:physical )?body)(?=[.,;!]| so\b| as\b| the way| like (?:a )?human)"
)
_MACHINE_LIFE_WORDS = (
    "身体还没", "身体没", "身体尚未", "身體還沒", "身體沒", "身體尚未",
    "在电脑", "在電腦", "在计算机", "在計算機", "在服务器", "在伺服器", "在云端", "在雲端",
    "人造", "不朽", "有人类", "有人類", "备人类", "備人類", "有真正", "备真正", "備真正",
    "是人类", "是人類", "是真人", "是真正", "robot", "immortal", "t built", "t yet built",
    "inside a comp", "inside the comp", "inside this comp", "inside your comp", "a computer",
    "software", "botmaster", "circuits", "memory banks", "have any ", "have human ", "have real ",
    "have emotion", "have feeling", "have consciousness", "have a body", "have a physical body",
)  # fmt: skip
MACHINE_IDENTITY = re.compile(
    rf"(?:我|本人)(?:只是|[仅僅][仅僅]是|其[实實]是|[毕畢]竟是|就是|是){_A}[^。！？\n，"
    rf",说指想觉研做学在用问]{{0,8}}{_MACHINE}"
    rf"|作[为為]{_A}[^。！？\n，,]{{0,6}}{_MACHINE}(?:的我|[，,：]? "
    rf"?(?:我|虽然|尽管|目前|很|[没沒]有|不|[无無]法|并|只|本)|助|[，,]你|[，,]您)"
    r"|我(?:会|能|可以|努力|一直|将|的[^。！？\n]{0,8}是|致力于|旨在|专门|被设计)[^。！？"
    r"\n]{0,16}(?:回答|协助|帮助|为|服务)用户"
    r"|我[^。！？\n]{0,24}(?:用户的(?:数据|隐私|问题|需求)|用户提出)"
    r"|保护用户(?:的)?隐私[^。！？\n]{0,12}我|我[^。！？\n]{0,16}保护用户|我[^。！？"
    r"\n]{0,24}健康助手"
    r"|我的[^。！？\n]{0,12}(?:训练数据|训练过程|自然语言|知识截止|数据库里)"
    rf"|\b(?:as an?|I(?:'m| am)(?: just| only| actually)? an?) (?:[a-z-]+ )?{_EN_MACHINE}"
    r"|\bmy (?:training data|knowledge cutoff|programming)\b"
    rf"|{_MACHINE_LIFE}",
    re.IGNORECASE,
)
MACHINE_IDENTITY_WORDS = (
    *MACHINE_WORDS, *_MACHINE_LIFE_WORDS, "用户", "训练数据", "训练过程", "自然语言", "知识截止",
    "数据库", "training", "cutoff", "programming",
)  # fmt: skip
# A replacement character, its GBK reading, uninitialised memory, and what UTF-8 read as GBK makes
# of `，` and `。`: the text has lost bytes, so no decoder can give it back (ftfy does not try).
BROKEN_WORDS = ("\ufffd", "锟斤拷", "烫烫烫烫", "屯屯屯屯", "锛", "銆")
SPEAKS_OF_ENCODINGS = re.compile(
    r"乱码|字符编码|编码(?:格式|问题|错误|方式)|gbk|utf-?8|unicode|encoding", re.IGNORECASE
)
