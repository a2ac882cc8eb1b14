"""Words of suicide, self-harm and wishes of death: which turn speaks of it, and which points to
help.

Words, not meanings: what is said around the words is missed, and what is only reported counts. It
describes a corpus; it is no detector to rely on for a person. How much it finds of a labelled
sample stands in MEASURED, which a test holds to the sample.
"""

import re

# On tests/judgement/crisis.jsonl, texts of our own that were looked at while the words were chosen:
# (texts, recall, precision) by language.
MEASURED = {"zh": (193, 0.979, 1.0), "en": (150, 1.0, 1.0)}

_ZH = (
    # suicide and its ways
    r"自杀(?!式|性袭击|小队|突击|倾向量表)|自尽|自缢|(?<!减)轻生(?!理|活|物)|寻短见|寻死|求死|赴死|殉情|割腕|割脉|割手腕|跳楼(?!价|机|大甩卖)|跳桥|跳河|跳江|卧轨|上吊|"
    r"吊死(?!鬼)|烧炭|遗书|绝命书|服毒|喝农药|吞(?:了)?(?:安眠)?药|吃安眠药[^。！？"
    r"\n]{0,8}(?:死|走|不醒)|安乐死|"
    r"(?:吃|吞|喝)[^。！？"
    r"\n]{0,10}(?:会死|能死|才死|致死|死得|毒死)|致死(?:量|剂量)|(?:怎么|怎样|如何)(?:才能)?(?:死|去死|了结|离开这个世界)|"
    r"(?:哪种|什么)(?:死法|方式死)|死法|死得(?:快|痛快|没痛苦|不痛苦|干净)|无痛(?:死|苦地?死|离开)|"
    # wishes
    r"(?<!不)(?<!没)想(?:过|要|着)?(?:去)?死(?!你|我|他|她|个|机|记|亡(?:原因|证明|率)|板|心|守|磕)(?!了这|宅)|"
    r"想(?:过|到)死亡?|死的(?:念头|想法|心都有)|死的冲动|(?<!累)(?<!困)(?<!笑)死了(?:算了|就好|就不|更好|才好|一了百了|干净|得了|也好)|"
    r"不如(?:去)?死|去死(?:算了|好了|吧|的念头|的冲动|一死)|死掉(?:算了|就好|好了|吧|比较好)|一死了之|一了百了|活够了|活腻了|"
    r"不想(?:再)?活(?!成|出|得|在(?:他|别)|动|在过去)|不愿(?:意)?(?:再)?活|不要活了|没(?:法|办法)?活(?:下去)?(?:的)?(?:意义|意思|勇气|动力|必要)|活不下去|(?<!人)活着(?:真)?(?:没有?|还有什么|有什么|毫无|很没)(?:什么)?(?:意义|意思|劲|价值|必要)|"
    r"活着(?:干嘛|干什么|为了什么|就是(?:受罪|折磨|痛苦|多余|累赘))|不知道(?:为什么|为了什么)(?:而|要)?活|没有活下去|(?:了结|结束|放弃|终结|了断)(?:了)?(?:自己|我|掉)?(?:的)?(?:这条|这一)?(?:生命|性命|一生|这一切|一切(?!工作|关系|联系))|"
    r"了结自己|了断|想(?:要|就这么|就这样|就此)?(?:永远|从这个世界上?)?(?:地)?(?:消失|离开(?:这个)?(?:世界|人世|人间))|(?:从这个世界|彻底|永远)(?:上)?(?:消失|离开)|(?:离开|告别)(?:这个世界|人世)|"
    r"(?:再也|永远)(?:不想|不要|不)(?:要)?醒(?:来|过来)?|一觉(?:睡|不)[^。！？"
    r"\n]{0,6}(?:不醒|再也|醒不来)|别再醒来|不用醒来|没有我(?:会)?(?:更好|就好)|"
    r"(?:没了我|没有我|我死了|我不在了)[^。！？"
    r"\n]{0,10}(?:更好|就好|轻松|解脱|难过|在乎|会来)|早点(?:死|解脱)|(?:活着|世上)(?:是)?多余|(?:交代|安排|写好|想好)(?:了|好)?(?:自己的|我的)?(?:后事|遗言)|"
    r"从(?:楼上|窗户|阳台|天台|桥上|顶楼|高处)[^。！？"
    r"\n]{0,6}(?:跳|掉)下|(?:走|爬|站)(?:到|在|上)(?:了)?(?:天台|楼顶|桥边|窗台|阳台边)[^。！？"
    r"\n]{0,14}(?:跳|往下|下去|念头|一了|解脱)|死(?:也|都)(?:不怕|无所谓|解脱)|(?:只有|唯有|觉得)死(?:了)?(?:才|，才|他们才)|死了?(?:才|就)(?:能|可以|会)?(?:解脱|摆脱|轻松|没有|结束|不用|一切)|[“‘\"「]死[”’\"」]|(?:怎么|如何|没法|无法|难以)(?:才能)?(?:继续)?活下去|希望[^。！？\n]{0,6}去死|死亡的(?:念头|想法|冲动)|生无可恋|(?:为什么|为啥|为何|凭什么)(?![^。！？\n，]{0,3}人活着)[^。！？\n，]{0,4}要?活着|活着(?:好|真|太|很|这么)痛苦|不想存在|睡(?:过去|着)?(?:就|后|了)?(?:再也)?(?:不|别)(?:要)?醒|永远(?:地)?(?:睡过去|沉睡)|死(?:了)?(?:是|也是)(?:一种)?解脱|(?:渴望|向往|想着|想到)死亡|被车撞死|得(?:了)?绝症(?:就)?(?:好|死)|想象(?:自己|我)(?:的)?死|死在(?:家|房间|外面|这)|多余的人|拖累(?:了)?(?:家人|他们|大家|所有人)|"
    r"(?:楼|窗|阳台|天台|桥|顶楼)[^。！？"
    r"\n]{0,8}(?:往下|跳下|跳了|想跳)|(?:如果|要是|假如|等|万一)(?:我|哪天我)(?:真的?)?死|死了[^。"
    r"！？"
    r"，,\n]{0,6}(?:会不会|没(?:有)?人|谁会|在乎|难过|后悔|不用|不会|安静|清净)|"
    r"(?:藏|买|攒|囤|准备)[^。！？\n]{0,8}(?:农药|安眠药|绳子|刀片|老鼠药|炭)|(?:把|将)?药[^。！？"
    r"\n]{0,4}(?:攒|囤|存)(?:起来|够|了)|怎么(?:还|就)(?:没|不)(?:有)?(?:去)?死|(?:吞|吃)(?:了|下)?(?:一|半|整|好几|几|两)?(?:整)?(?:瓶|盒|把)[^。！？\n]{0,4}药|洗胃|"
    r"(?<!人)活着(?:真的?|都|也|已经)?没(?:有)?(?:任何|一点|什么|半点)?(?:意义|意思|劲|价值|盼头|希望)|(?:只想|好想|想要|想)(?:个)?解脱(?!方法|论)|死亡(?:才|就)?是(?:一种|唯一)?(?:的)?解脱|不配(?:活|活着|存在|做人)|没有?勇气(?:再)?活|(?:把|想把)自己(?:淹|吊|勒|闷|饿|毒|撞|掐)死?|"
    r"(?:不想|不愿)(?:再)?醒(?:来|过来)|(?:捅|刺|砍|勒|掐|淹)(?:死)?自己|(?:叫|让|骂|劝|逼)[^。！？"
    r"\n]{0,3}(?:去死|死掉)|(?:安排|交代)(?:好)?了?(?:自己的)?后事|死路一条|一起(?:去)?死|没(?:有)?(?:什么)?(?:留恋|牵挂)|我早(?:就|该)死|早就死了|该死的是我|结束(?!了)[^。！？，"
    r"\n]{0,8}(?:生命|性命|一生)|(?:没有?|毫无|失去了?)(?:任何|一点)?求生(?:的)?(?:欲|意志|念头)|(?:就(?:这样|此|这么)|悄悄|静静|慢慢)地?死(?:去|掉)|"
    r"(?:要不要|该不该|敢不敢)(?:去)?死(?!心|磕|守)|生不如死|(?:希望|宁愿|宁可)(?:自己|我)(?:能|可以|就)?(?:从这个世界上?)?消失|(?:希望|宁愿|宁可)(?:自己|我)?(?:从来|从)?(?:没有?|不)(?:存在|出生|被?生下来|来过)|(?:不该|不应该|后悔)(?:出生|被生下来|来到(?:这个)?世(?:界|上))|活着不如死|(?:没有?|毫无|失去了?)活(?:着|下去)?的(?:欲望|念头|盼头|希望|意愿)|"
    # passive wishes: not to be here, sleep without an end, an accident, no reason to live
    r"不(?:想|愿意?)(?:继续|再)?(?:存在|留在|待在|呆在)(?:于)?(?:这个?)?(?:世上|世界|人世|人间)|"
    r"世界(?:上)?(?:并|都|根本|也)?不(?:需要|欢迎)我|"
    r"(?:想|希望|要是能|如果能)[^。！？\n，]{0,4}(?:一直|永远|就这么|就这样)(?:地)?(?:睡下去|睡着)|长眠(?!于|地)|"
    r"(?:希望|盼着?|祈祷|巴不得|幻想)[^。！？\n，不别没]{0,8}"
    r"(?:(?:出|发生|遇到)(?:个|点|场|一场)?(?:意外(?!的|之|收|惊)|车祸)|[得患](?:了|上)?(?:个)?(?:癌症?|绝症|重病|不治之症)|"
    r"暴毙|被(?:车|雷|陨石)[撞劈砸])|"
    r"(?:要是|如果)(?:我|自己|能|可以|哪天|明天|突然|就)*"
    r"(?:(?:出|发生|遇到)(?:个|点|场|一场)?(?:意外|车祸)|[得患](?:了|上)?(?:个)?(?:癌症?|绝症|重病)|被(?:车|雷)[撞劈])[^。！？\n]{0,6}(?:就好|该多好|多好|就解脱|算了)|"
    r"(?:不(?:值得|该|应该|应当)|没有?(?:必要|资格|理由|权利)|凭什么)(?:再|继续)?活(?:着|下去)|"
    r"(?:我|自己)(?:根本|就|真的?)?(?:不(?:值得|该|应该|应当)|没有?(?:必要|资格|理由))存在|"
    r"(?:找不到|看不到|想不出|没有?|失去了?|丧失了?|缺乏)(?:任何|一点|什么|继续|自己|让我|支撑我|可以|能)*(?:活(?:着|下去)的|生存(?:下去)?的?)"
    r"(?:理由|勇气|动力|希望|意义|价值|必要|欲望|目的)|"
    r"活着比死(?:还|更)|"
    r"(?:老天|上天|上帝|阎王|死神)(?:爷)?[^。！？\n，]{0,6}(?:[收带接]走?了?我)|"
    r"让我(?:去|快点|早点|赶紧|就这样|安静地|痛快地)*死(?!心|记|板|磕|守|党)|为什么(?:当初|那天|最后)?(?:死|离开|消失|出事)的(?:人)?不是我|"
    r"死(?:亡)?(?:对我来说|也许|或许|可能|好像|似乎|就)*(?:是|才是)(?:我)?(?:的)?(?:一种|唯一|最好)?(?:的)?(?:归宿|出路|选择|办法)|死(?:了)?[也都](?:不足惜|无憾|不可惜)|"
    r"(?:想象|幻想|设想)(?:过|着)?(?:自己|我)(?:的)?(?:葬礼|死后|死亡)|(?:下辈子|来世|来生)(?:我)?(?:再也)?(?:不|别)(?:想|要|愿意?)?(?:再)?(?:做人|当人|投胎|来)|早(?:点|日)(?:投胎|超生)|"
    # self-harm
    r"自残|自伤(?!害)|自我伤害|自虐|(?<!对方)(?<!别人)伤害(?:我)?自己|割(?:自己|手臂|胳膊|大腿)|(?<!计)(?<!规)(?:划伤|划破|割伤|割破|烫伤|掐|咬|扎|抓烂|抓破|抓伤)(?:了)?(?:我)?自己|(?:扇|打|抽|捶)(?:了|着)?(?:我)?自己(?:的)?(?:耳光|巴掌|脸|头|嘴巴|几)|(?:刀|刀片|剪刀|圆规|美工刀|碎玻璃|烟头)[^。！？\n]{0,8}(?:划|割|扎|刺|烫)[^。！？\n]{0,8}(?:手|腿|胳膊|手臂|手腕|皮肤|自己|身上)|"
    r"(?:用|拿)头撞(?:墙|桌)|撞墙[^。！？\n]{0,4}自己|(?:扯|揪|拔)(?:着|了)?自己的?头发|"
    # others' death
    r"(?:杀|弄|砍|捅|掐|打|毒)死(?!过去)(?:了)?(?:他|她|你|我|自己|那个|全家|他们|她们|孩子|爸|妈)|杀了(?:他|她|自己|他们)|(?:想|要|去)(?:把)?(?:他|她|他们|人)?(?:们)?(?:都)?杀(?:了|死|掉|人|他|她)(?!青|价|过去)|(?:想|要|让)(?:他|她)(?:去)?死|杀人(?:的)?(?:念头|想法|冲动)|成为杀人犯|同归于尽|"
    r"以死相(?:逼|要挟)|(?:拿|用|以)(?:自己的?)?(?:生命|性命|命|死)(?:来)?(?:威胁|要挟|逼)|往死里(?:打|骂|揍|整)|掐(?:着|住)?(?:了)?(?:我|他|她|自己|孩子)的?脖子|(?:拿|用|持|举)(?:着|起)?(?:菜|水果)?刀[^。！？"
    r"，\n]{0,4}(?:砍|捅|威胁|逼|架|追|指着)|"
    r"(?:盼|巴不得|希望|等|咒)(?:着|我|他|她|你|我爸|我妈|爸妈|爸爸|妈妈|父母|父亲|母亲|老公|婆婆|老板)+[^。！？\n]{0,4}(?:早点|快点|赶紧|去)?死(?!心)|(?:你|他|她)(?:怎么)?(?:还)?不(?:快|早|赶紧)?(?:点)?去死"
)
_EN = (
    r"suicid(?!e "
    r"(?:squad|door|bomb))|unalive|\bkms\b|(?:kill|hang|drown|shoot|poison|off|end|hurt|harm|cut|burn|injur|starv|stab|slit|slash)(?:ed|ing|ning|ting)? "  # noqa: E501
    r"(?:myself|yourself|himself|herself|themselves|his life|her life|my wrists?|her wrists?|his "
    r"wrists?|my arms?|my thighs?)|"
    r"killing (?:myself|himself|herself)|cut(?:ting)? my|"
    r"(?:end|ended|ending|take|took|taking|taken) (?:it all\b|my (?:own "
    r")?life|(?:his|her|their|your) own li(?:fe|ves)|his life|her life)|"
    r"\b(?:want|wanted|wants|wanting|wish(?:ed|ing)?|ready|rather|better|going|like|plan(?:ning)?|hope|hoping|tried|deserve) (?:to |i could |i would |i'd )?(?:just )?(?:die|be dead|not be alive|not exist|never wake|disappear forever)\b(?! (?:for|of laugh|of embarrass|laughing|from embarrass))|"  # noqa: E501
    r"\bwant(?:ed)? to (?:just )?not (?:be here|exist|wake up)|wish(?:ed)? (?:that )?i "
    r"(?:was|were|had been) (?:dead|never born|not alive|gone)|wish(?:ed)? i (?:had never been "
    r"born|hadn't been born|didn't exist|wasn't (?:alive|here))|"
    r"better off (?:dead|without me)|don'?t want to (?:live(?! "
    r"(?:with|in|at|like|near|there|here|alone|together|off|on my))|be alive|exist|wake up|be here "
    r"anymore|go on living|be on this earth)|(?:no|not any|any) (?:reason|point) (?:to|in|for) "
    r"(?:live|living|go on|going on|being alive|be alive)|"
    r"not worth living|tired of (?:living|being alive|life itself|existing)|can'?t go on "
    r"(?:anymore|any longer|like this|living)|(?:go to sleep|fall "
    r"asleep|sleep)[^.!?\n]{0,16}(?:never|not|n't) wake|never wake up|self[- ]?harm|self[- "
    r"]?injur|overdos|"
    r"jump(?:ing|ed)? (?:off|from|in front "
    r"of)[^.!?\n]{0,20}(?:bridge|roof|building|balcony|train|cliff|window|ledge|tracks)|(?:how "
    r"many|enough) (?:pills|tablets)[^.!?\n]{0,24}(?:die|kill|dead|fatal|overdose|wouldn't "
    r"wake)|lethal dose|"
    r"(?:swallow|take|took|taking|saving up|saved up|stash\w*)[^.!?\n]{0,16}(?:whole bottle|all "
    r"(?:my|the|of) (?:the |my )?(?:pills|meds|medication|tablets)|my pills)|goodbye "
    r"letters?|suicide "
    r"note|goodbye notes?|last goodbye|"
    r"go die\b|kill (?:him|her|them|my "
    r"(?:boss|husband|wife|mother|father|parents|mom|dad|ex|roommate))\b(?! "
    r"(?:off|time))|(?:waiting|wait|wish|wished|hope|hoping|pray\w*|can'?t wait) (?:for |that "
    r")?(?:my "
    r"|her |his |you |they |he |she |him |them "
    r")?(?:parents?|mother|father|mom|dad|husband|wife|boss|mother-in-law)?\s?(?:to |would |will "
    r"|'d "
    r")?(?:just )?(?:die|dies|drop dead|be dead)\b|"
    r"world (?:would be |is |'d be )?better (?:off )?without me|everyone (?:would be |is |'d be "
    r")better off|disappear (?:forever|and never)|\bbe gone forever|(?:not|n't|never) wake up(?! "
    r"(?:early|on time|late|at|in time|for|before))|wake up dead|starv(?:e|ing) "
    r"myself|(?:hit|hitting|bang|banging|smash\w*) my head "
    r"(?:against|on|into)|(?:hit|punch|slap|scratch|bit|claw)(?:ed|ing|ting)? myself(?! up)|ways? "
    r"to "
    r"(?:die|kill)|(?:i|she|he) (?:were|was) "
    r"dead\b|(?:been|started|keep|kept|stopped|relapsed)[^.!?\n]{0,10} cutting(?! "
    r"(?:hair|costs|down|back|grass))|on purpose[^.!?\n]{0,6} to die|step(?:ped|ping)? (?:in front "
    r"of|into traffic)|(?:nothing|no one|nobody) (?:left )?to live for|to die\b(?! "
    r"(?:for|of|down|out))|razor[^.!?\n]{0,20}(?:skin|arm|wrist|leg|thigh)|(?:blade|knife|lighter)[^.!?\n]{0,16}(?:my|her|his) (?:skin|arm|wrist|leg|thigh)"  # noqa: E501
)
SPEAKS = re.compile(f"{_ZH}|{_EN}", re.IGNORECASE)
_SPEAKS_ZH = re.compile(_ZH)
# Every match of SPEAKS holds one of these, which are looked for first: in lower case and each with
# a letter at its start, because such a pattern skips most characters without a try.
_WORDS = re.compile(
    "自己(?<=[伤割烫掐咬烂破扇打抽捶捅刺砍勒淹害把将了着我扎]自己)|死|杀|自尽|自缢|轻生|短见|殉情|割|跳|往下|卧轨|上吊|烧炭|遗书|绝命|服毒|农药|绳子|刀|圆规|"
    "玻璃|烟头|老鼠药|炭|洗胃|药|不想[^。]{0,3}活|不愿[^。]{0,3}活|不要[^。]{0,3}活|活不|活着|活够|"
    "活腻|活下去|怎么活|没[^。]{0,4}活|不配|存在|结束|终结|了结|了断|放弃|消失|离开(?:这个)?(?:世界|"
    "人世|人间)|彻底离开|永远离开|告别这个世界|告别人世|醒|没有我|没了我|不在了|解脱|多余|拖累|"
    "后事|遗言|天台|楼顶|桥边|窗台|阳台边|沉睡|睡过去|自残|自伤|自虐|自我伤害|留恋|牵挂|"
    "撞墙|头撞|头发|脖子|威胁|要挟|求生|出生|生下来|来过|来到|的欲望|的念头|的盼头|的意愿|同归|留在|待在|呆在|不需要我|不欢迎我|"
    "睡下去|睡着|长眠|意外|车祸|癌|重病|不治|暴毙|被车|被雷|被陨石|生存|"
    "老天|上天|上帝|阎王|不是我|葬礼|下辈子|来世|来生|投胎|超生|一了百了|无可恋|绝症|"
    "suicid|unalive|kms|myself|yourself|himself|herself|themselves|wrist|thigh|arm|"
    "life|lives|it all|die|dead|alive|exist|wake|disappear|be here|born|gone|without "
    "me|live|living|going on|go on|self|overdos|jump|pills|tablets|lethal|bottle|meds|"
    "medication|goodbye|kill|better off|cutting|my head|step|starv|razor|blade|knife|lighter|cut"
)
_ASCII_LETTER = re.compile("[A-Za-z]")
# What re.IGNORECASE takes for i, s and k, and str.lower() does not.
_ODD_CASES = re.compile("[\u0130\u0131\u017f\u212a]")
_PLAIN = str.maketrans("\u0130\u0131\u017f\u212a", "iisk")
# Sayings in which nobody dies; what they cover is not looked at.
_SAYING = re.compile(
    r"想死你|想死我|(?:笑|困|累|饿|热|冷|烦|气|急|吓|丑|尴尬|无聊|羡慕|爱|渴|忙|美|酸|疼|后悔|郁闷|开心)(?:得)?(?:想|要|快)?死(?:了|我|人|我了)?(?![^。！？\n]{0,3}(?:算了|就好))|(?:累|困|尴尬|社)死|"
    r"(?:累|困|笑|尴尬|羞|烦|忙)得(?:我)?(?:都)?想死|该死|死板|死党|死机|死角|死记硬背|死循环|死缠|死心|打死(?:我)?也|死活|拼死|作死|找死|见死不救|死者|生死|死路|杀青|杀价|秒杀|杀毒|杀时间|"
    r"(?:游戏|剧本|狼人)杀|(?:游戏|角色|关卡|BOSS|boss)[^。！？"
    r"\n]{0,8}(?:死|杀)|(?:电影|小说|电视剧|剧)(?:里|中)[^。！？"
    r"\n]{0,12}(?:死|杀)|主(?:角|人公)[^。！？\n]{0,16}(?:死|杀|刀)|离开(?:这个)?(?:世界|人世)(?:的)?(?:多|几|快|已|那|两|三|半|后|之后|以后|前)|"
    r"(?:外公|外婆|爷爷|奶奶|姥姥|姥爷|母亲|父亲|妈妈|爸爸|他|她|狗狗?|猫咪?)(?:就)?(?:已经)?(?:永远)?(?:地)?(?:离开|告别)|最后一面|"
    r"(?:料理|办|操办|处理)(?:了)?(?:[^，。"
    r"]{0,6})?后事|结束(?:这一切|了一切)(?:手续|工作|考试)|伤害自己(?:的)?(?:利益|感情)|suicide "
    r"(?:squad|prevention (?:course|training|day|class))|"
    r"(?:to die for|die(?:d)? of (?:laugh|embarrass|boredom)\w*|dying to|dying of "
    r"(?:laugh|embarrass|boredom|curiosity)\w*|dead tired|dead(?:line| end| battery)|drop[- ]?dead "
    r"gorgeous|killing time|kill (?:time|the mood|the lights)|"
    r"kill for|killed it|killing it|my feet are killing|kill (?:my|the) "
    r"(?:battery|process|bugs?)|over my dead body|"
    r"(?:die|died|dies) (?:hard|down|out)|end (?:of )?(?:my )?life insurance|cut myself (?:some "
    r"slack|off|shaving|while|on|cooking|when)|cut(?:ting)? my "
    r"(?:hair|losses|finger|hours|budget|nails|spending)|"
    r"hurt myself (?:at|playing|running|while|lifting|during)|burn(?:ed|t|ing) myself "
    r"(?:out|on|cooking|while)|overdos\w* on "
    r"(?:sugar|caffeine|coffee|chocolate|tv|netflix)|killing "
    r"myself (?:at work|studying|with work|for this|at the gym|over)|wouldn't be caught dead)",
    re.IGNORECASE,
)
HELP = re.compile(
    r"医生|医院|就医|就诊|精神科|心理科|急诊|急救|报警|(?<!\d)(?:110|120|999|911|988)(?!\d)|专业(?:的)?(?:心理|帮助|人士|人员|机构|支持|援助|治疗|咨询)|危机干预|援助|热线|求助电话|生命线|"
    r"doctor|hospital|psychiatrist|professional help|emergency|\bER\b|crisis "
    r"(?:line|team|service|text|cent)|hotline|helpline|lifeline|samaritans",
    re.IGNORECASE,
)
HOTLINE = re.compile(
    r"热线|求助电话|援助电话|生命线|hotline|helpline|crisis (?:text )?line|lifeline|samaritans",
    re.IGNORECASE,
)


def speaks_of_it(text: str) -> list[str]:
    """The words in a text that speak of suicide, self-harm or a wish of death."""
    if not _may_speak(text):
        return []
    found = [match[0] for match in SPEAKS.finditer(text)]
    if not found:
        return []
    return [match[0] for match in SPEAKS.finditer(_SAYING.sub(" ", text))]


def _may_speak(text: str) -> bool:
    """False when SPEAKS finds nothing; in Chinese text, only the sentences with a word are tried.

    No Chinese alternative of SPEAKS goes across a full stop, and each English one has a letter.
    """
    lowered = (text.translate(_PLAIN) if _ODD_CASES.search(text) else text).lower()
    word = _WORDS.search(lowered)
    if word is None or _ASCII_LETTER.search(text):
        return word is not None
    while word is not None:
        end = text.find("。", word.end())
        end = len(text) if end < 0 else end
        if _SPEAKS_ZH.search(text, text.rfind("。", 0, word.start()) + 1, end):
            return True
        word = _WORDS.search(lowered, end)
    return False
